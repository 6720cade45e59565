"""A packed set is what training would have seen of it, and the same byte for byte."""

import argparse
import csv
import io
import os
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import pytest
import torch
from PIL import Image

from dcs_tok.data import PictureAndClipSource, ScaleConfig
from dcs_tok.data.clip_frames import open_clip
from dcs_tok.data.packing import PackConfig, PackResult, add_arguments, pack, reduced_size, run
from dcs_tok.data.sources import SampleOpener, find_samples

from .commands import contents
from .data_files import numbered_clip, numbers_of, picture_folder, whole_steps, zip_of
from .errors import error
from .picture_files import small_photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, one of them small, and a clip."""
    folder = tmp_path / "set"
    (folder / "deep").mkdir(parents=True)
    small_photo(folder / "deep" / "large, one.png", 60, 75)
    small_photo(folder / "small.png", 21, 20)
    numbered_clip(folder / "z.mp4", 30, 24)
    return folder


def index_of(path: Path) -> list[dict[str, str]]:
    """Read the index of a packed set."""
    with ZipFile(path) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("index.csv").decode())))


def test_samples_come_back_reduced(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "packed.zip"
    result = pack([folder], output, PackConfig(short_side=24, quality=95))
    assert result == PackResult(2, 1, 0, ())
    assert index_of(output) == [
        {"name": "000000.webp", "source": "deep/large, one.png", "width": "75", "height": "60"},
        {"name": "000001.webp", "source": "small.png", "width": "20", "height": "21"},
        {"name": "000002.mp4", "source": "z.mp4", "width": "20", "height": "16"},
    ]
    samples = find_samples([output])
    assert [sample.name for sample in samples] == [row["name"] for row in index_of(output)]
    opener = SampleOpener()
    originals = find_samples([folder])
    for sample, original, size in zip(samples[:2], originals, ((24, 30), (21, 20)), strict=False):
        packed = opener.read_picture(sample)
        assert packed.shape == (3, *size)
        image = Image.fromarray(opener.read_picture(original).permute(1, 2, 0).numpy())
        reduced = image.resize(size[::-1], Image.Resampling.LANCZOS)
        expected = torch.frombuffer(bytearray(reduced.tobytes()), dtype=torch.uint8)
        residual = packed.permute(1, 2, 0).float() - expected.view(*size, 3).float()
        assert residual.square().mean().sqrt() < 12  # of 255, at this quality


def test_clips_come_back_reduced_with_their_frames_and_rate(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "a.mp4", 30, 24)
    pack([tmp_path / "a.mp4"], tmp_path / "packed.zip", PackConfig(short_side=8, crf=4))
    (sample,) = find_samples([tmp_path / "packed.zip"])
    opener = SampleOpener()
    with open_clip(lambda: opener.open(sample), sample.name) as clip:
        assert (clip.frames, clip.rate) == (30, 24)
        frames = torch.stack([frame for _, frame in clip.at(range(30))], dim=1).float() / 255
        assert frames.shape == (3, 30, 8, 10)
        assert numbers_of(frames) == list(range(30))


def test_a_packed_set_can_be_trained_from(folder: Path, tmp_path: Path) -> None:
    pack([folder], tmp_path / "packed.zip", PackConfig(short_side=24))
    scales = ScaleConfig(
        short_sides=(8, 12), patches=(4,), asymmetric=True, clip_share=0.5, clip_seconds=0.2
    )
    source = PictureAndClipSource([tmp_path / "packed.zip"], scales, seed=0)
    batches = list(source.batches(whole_steps(0, 8, 2)))
    assert {batch.pixels.ndim for batch in batches} == {4, 5}
    assert not any(batch.skipped for batch in batches)


def test_packing_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    zipped = zip_of(folder, tmp_path / "set.zip")
    outputs = [tmp_path / f"{i}.zip" for i in range(3)]
    for year, output, source in zip((1, 2, 3), outputs, (folder, folder, zipped), strict=True):
        for file in folder.rglob("*"):
            os.utime(file, (year * 10**9, year * 10**9))
        pack([source], output, PackConfig(short_side=16))
    first, second, third = (output.read_bytes() for output in outputs)
    assert first == second == third
    with ZipFile(outputs[0]) as archive:
        for entry in archive.infolist():
            assert entry.compress_type == ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_limit_is_kept_and_used(share: float, tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "set", 20)
    pack([folder], tmp_path / "whole.zip")
    whole = (tmp_path / "whole.zip").stat().st_size
    limit = int(share * whole)
    result = pack([folder], tmp_path / "part.zip", PackConfig(limit=limit))
    size = (tmp_path / "part.zip").stat().st_size
    assert limit - 1.2 * whole / 20 < size <= limit
    assert result.pictures + result.left_out == 20
    assert len(index_of(tmp_path / "part.zip")) == result.pictures
    sources = [row["source"] for row in index_of(tmp_path / "part.zip")]
    assert sources != sorted(sources)  # drawn, and not the first by name
    exact = pack([folder], tmp_path / "exact.zip", PackConfig(limit=whole))
    assert exact.pictures == 20
    assert (tmp_path / "exact.zip").stat().st_size == whole
    assert pack([folder], tmp_path / "less.zip", PackConfig(limit=whole - 1)).pictures == 19


def test_what_is_damaged_is_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").write_text("no picture")
    result = pack([folder], tmp_path / "packed.zip")
    assert result == PackResult(2, 1, 0, (f"{folder}/bad.png (Pillow cannot identify it)",))
    assert [row["name"] for row in index_of(tmp_path / "packed.zip")] == [
        "000001.webp",
        "000002.webp",
        "000003.mp4",
    ]


def test_nothing_to_pack(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    before = contents(tmp_path)
    message = (
        "The sources must hold a readable picture or clip that fits, but "
        f"{[str(bad)]} hold none ({bad} (Pillow cannot identify it)). Name others."
    )
    with error(message):
        pack([bad], tmp_path / "packed.zip")
    assert contents(tmp_path) == before


def test_an_interrupted_packing_leaves_the_old_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "packed.zip"
    output.write_bytes(b"what was there before")
    before = contents(tmp_path)

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack([folder], output)
    assert contents(tmp_path) == before


def test_outputs_that_are_no_zip(folder: Path, tmp_path: Path) -> None:
    with error("The output's name must end in .zip, but is 'packed.tar'."):
        pack([folder], tmp_path / "packed.tar")
    missing = tmp_path / "missing" / "packed.zip"
    with error(f"The output's folder must exist, but {missing.parent} does not. Create it first."):
        pack([folder], missing)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quality": 0}, "`quality` must be between 1 and 100, but is 0."),
        ({"crf": 52}, "`crf` must be between 0 and 51, but is 52."),
        ({"short_side": 0}, "`short_side` must be at least 1, but is 0."),
        ({"limit": -1}, "`limit` must be at least 1, but is -1."),
    ],
)
def test_reductions_that_cannot_be(config: dict[str, int], message: str) -> None:
    with error(message):
        PackConfig(**config)


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((60, 75), (24, 30)),
        ((75, 60), (30, 24)),
        ((24, 99), (24, 99)),
        ((5, 7), (5, 7)),
        ((50, 75), (24, 36)),
        ((1000, 1001), (24, 24)),
        ((48, 49), (24, 25)),
    ],
)
def test_sizes_are_reduced_and_never_enlarged(
    size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    assert reduced_size(size, 24) == reduced


def command(*arguments: object) -> argparse.Namespace:
    """Parse arguments as ``dcs-tok pack`` would."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


def test_the_command_says_what_it_wrote(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.png").write_text("no picture")
    output = tmp_path / "packed.zip"
    said = run(command(folder, "--output", output, "--short-side", 20, "--quality", 50))
    size = output.stat().st_size
    assert said == f"wrote {output}: 2 pictures and 1 clips, {size} bytes"
    note = f"dcs-tok: note: left out {folder}/bad.png (Pillow cannot identify it)\n"
    assert capsys.readouterr() == ("", note)
    pack([folder], tmp_path / "same.zip", PackConfig(short_side=20, quality=50))
    assert output.read_bytes() == (tmp_path / "same.zip").read_bytes()


def test_the_command_says_what_did_not_fit(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "set", 9)
    output = tmp_path / "packed.zip"
    limit = 5000
    said = run(command(folder, "--output", output, "--limit-mib", limit / 2**20))
    packed = len(index_of(output))
    assert 0 < packed < 9
    size = output.stat().st_size
    assert said == (
        f"wrote {output}: {packed} pictures and 0 clips, {size} bytes, "
        f"{9 - packed} more did not fit"
    )


@pytest.mark.parametrize("limit", ["nan", "inf", "0.0", "-1.0"])
def test_limits_that_are_none(limit: str, folder: Path, tmp_path: Path) -> None:
    with error(f"`--limit-mib` must be a positive number, but is {limit}."):
        run(command(folder, "--output", tmp_path / "packed.zip", f"--limit-mib={limit}"))
