"""Samples are found by name, in one order, wherever they are kept."""

import io
import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from PIL import Image
from torch import Tensor

from dcs_tok.data import sources
from dcs_tok.data.sources import (
    SampleFile,
    SampleOpener,
    UnreadableSampleError,
    find_samples,
    kind_of,
)

from .data_files import deflated, picture_folder, zip_of
from .errors import error
from .picture_files import encoded, noise, saved


def test_folders_are_walked_through_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b/2.png", "b.png", "a/10.JPG", "a/9.webp", "a-b/1.bmp", "a/notes.txt", "c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_samples([tmp_path], ["picture"])
    assert [sample.name for sample in found] == [
        "a/10.JPG",
        "a/9.webp",
        "a-b/1.bmp",
        "b/2.png",
        "b.png",
    ]
    assert {sample.kind for sample in found} == {"picture"}
    assert [sample.location for sample in find_samples([tmp_path], ["clip"])] == [
        f"{tmp_path}/c.mp4"
    ]
    assert len(find_samples([tmp_path])) == 6


@pytest.mark.parametrize("write", [zip_of, deflated])
def test_a_zip_is_the_folder_that_it_was_made_of(
    write: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    folder = picture_folder(tmp_path / "folder", 7)
    archive = write(folder, tmp_path / "pictures.zip")
    in_folder, in_zip = find_samples([folder]), find_samples([archive])
    assert [sample.name for sample in in_zip] == [sample.name for sample in in_folder]
    assert len(in_zip) == 7
    opener = SampleOpener()
    for first, second in zip(in_folder, in_zip, strict=True):
        assert torch.equal(opener.read_picture(first), opener.read_picture(second))
        assert opener.read_picture(first).float().std() > 50


def test_sources_keep_their_order(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "z", 2)
    single = saved(tmp_path / "m.png", Image.fromarray(noise(3, 5)))
    archive = zip_of(folder, tmp_path / "a.zip")
    found = find_samples([folder, single, archive])
    assert [sample.location for sample in found] == [
        f"{folder}/a/00.png",
        f"{folder}/b/01.png",
        f"{single}",
        f"{archive}/a/00.png",
        f"{archive}/b/01.png",
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "picture"),
        ("deep/er/a.JPEG", "picture"),
        ("a.tar.webp", "picture"),
        ("a.mkv", "clip"),
        ("a.MP4", "clip"),
        ("a.txt", None),
        ("png", None),
        ("__MACOSX/._a.png", None),
        (".png", None),
    ],
)
def test_endings_tell_what_a_file_is(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "elsewhere", 3)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(folder)
    assert [sample.name for sample in find_samples([tmp_path / "set"])] == [
        "linked/a/00.png",
        "linked/a/02.png",
        "linked/b/01.png",
    ]


@pytest.mark.parametrize("name", ["missing", "missing.zip", "missing.png"])
def test_missing_sources(name: str, tmp_path: Path) -> None:
    message = (
        "Every source must be a folder, a zip or one of .bmp, .jpeg, .jpg, .png, .ppm, .webp, but "
        f"is {str(tmp_path / name)!r}. Name existing ones."
    )
    with error(message):
        find_samples([tmp_path / name], ["picture"])


def test_sources_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no sample")
    message = (
        "Every source must be a folder, a zip or one of .avi, .bmp, .jpeg, .jpg, .m4v, .mkv, .mov, "
        f".mp4, .mpg, .png, .ppm, .webm, .webp, .y4m, but is {str(path)!r}. Name existing ones."
    )
    with error(message):
        find_samples([path])


def test_zips_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"no zip")
    message = f"Every zip must be whole, but {str(path)!r} is not: File is not a zip file."
    with error(f"{message} Copy it again."):
        find_samples([path])


def test_folders_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    message = f"Every folder must be readable, but {str(tmp_path)!r} is not: Permission denied."
    with error(f"{message} Change its permissions, or name another."):
        find_samples([tmp_path])


def test_pictures_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("no picture")
    message = f"Every picture must be readable, but {str(path)!r} is not: Pillow cannot identify it"
    with error(f"{message}. Remove it."):
        SampleOpener().read_picture(SampleFile(str(tmp_path), "a.png"))


def test_damaged_members_of_a_zip_are_told_apart_from_whole_ones(tmp_path: Path) -> None:
    pictures = [encoded(Image.fromarray(noise(9, 11, seed=i)), "BMP") for i in range(2)]
    path = tmp_path / "a.zip"
    with ZipFile(path, "w") as archive:
        for i, content in enumerate(pictures):
            archive.writestr(f"{i}.bmp", content)
    content = path.read_bytes()
    path.write_bytes(content.replace(pictures[0], pictures[0][:-1] + b"\x55"))
    opener = SampleOpener()
    first, second = find_samples([path])
    message = f"Every picture must be readable, but '{path}/0.bmp' is not: Bad CRC-32 for file "
    with pytest.raises(UnreadableSampleError) as problem:
        opener.read_picture(first)
    assert str(problem.value) == f"{message}'0.bmp'. Remove it."
    assert (problem.value.location, problem.value.reason) == (
        f"{path}/0.bmp",
        "Bad CRC-32 for file '0.bmp'",
    )
    expected = torch.from_numpy(noise(9, 11, seed=1)).permute(2, 0, 1)
    assert torch.equal(opener.read_picture(second), expected)


def test_few_zips_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_OPEN_ARCHIVES", 2)
    for i in range(5):
        picture_folder(tmp_path / f"{i}", 2)
        zip_of(tmp_path / f"{i}", tmp_path / f"{i}.zip")
    opener = SampleOpener()
    samples = find_samples([tmp_path / f"{i}.zip" for i in range(5)])
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for sample in (*samples, *reversed(samples)):
        assert opener.read_picture(sample).shape == (3, 20, 23)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def _read_all(opener: SampleOpener, samples: list[SampleFile]) -> list[Tensor]:
    return [opener.read_picture(sample) for sample in samples]


def _read_in_a_child(opener: SampleOpener, samples: list[SampleFile], into: Path) -> None:
    for _ in range(20):
        read = _read_all(opener, samples)
    into.write_bytes(b"".join(picture.contiguous().numpy().tobytes() for picture in read))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_an_open_zip_is_not_shared_with_a_forked_process(tmp_path: Path) -> None:
    """Two processes with one file position between them would read each other's bytes."""
    archive = zip_of(picture_folder(tmp_path / "folder", 5), tmp_path / "a.zip")
    samples = list(find_samples([archive]))
    opener = SampleOpener()
    expected = _read_all(opener, samples)
    child = multiprocessing.get_context("fork").Process(
        target=_read_in_a_child, args=(opener, samples, tmp_path / "read")
    )
    child.start()
    for _ in range(20):
        for picture, again in zip(expected, _read_all(opener, samples), strict=True):
            assert torch.equal(picture, again)
    child.join()
    whole = b"".join(picture.contiguous().numpy().tobytes() for picture in expected)
    assert (tmp_path / "read").read_bytes() == whole


def test_openers_go_to_other_processes_without_their_files(tmp_path: Path) -> None:
    archive = zip_of(picture_folder(tmp_path / "folder", 2), tmp_path / "a.zip")
    samples = list(find_samples([archive]))
    opener = SampleOpener()
    expected = _read_all(opener, samples)
    for picture, again in zip(
        expected, _read_all(pickle.loads(pickle.dumps(opener)), samples), strict=True
    ):
        assert torch.equal(picture, again)


@pytest.mark.parametrize("write", [zip_of, deflated])
def test_members_of_a_zip_can_be_sought_in(
    write: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    content = bytes(range(256)) * 9
    (tmp_path / "folder" / "a.mp4").write_bytes(content)
    (sample,) = find_samples([write(tmp_path / "folder", tmp_path / "a.zip")])
    with SampleOpener().open(sample) as file:
        file.seek(-3, io.SEEK_END)
        assert file.read() == content[-3:]
        file.seek(17)
        assert file.read(5) == content[17:22]
