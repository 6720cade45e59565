"""A cache is the same however it was made, and gives back what the tokenizer said."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_dit.data import LatentCache, find_labelled_pictures
from dcs_dit.data.picture_files import PictureReader
from dcs_dit.data.picture_pixels import decode_pixels

from .labelled_files import (
    CLASSES,
    SMALL,
    ToyTokenizer,
    class_folder,
    contents,
    flat_folder,
    make_cache,
    save_picture,
    table,
    zip_of,
)

FLIPPED = replace(SMALL, flips=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "cache"
    make_cache(folder, [pictures], FLIPPED)
    return folder


def expected_tokens(pictures: Path, *, flip: bool = False) -> Tensor:
    """Encode pictures one by one."""
    reader, tokens = PictureReader(), []
    for picture in find_labelled_pictures([pictures]).pictures:
        pixels = decode_pixels(reader.read(picture.file), SMALL.size)[None] / 255
        tokens.append(ToyTokenizer().encode(pixels.flip(-1) if flip else pixels).tokens)
    return torch.cat(tokens)


def test_a_cache_holds_the_latents_of_its_pictures(pictures: Path, tmp_path: Path) -> None:
    config = replace(SMALL, dtype="float32")
    result = make_cache(tmp_path / "cache", [pictures], config)
    assert (result.written, result.kept, result.missing, result.skipped) == (5, 0, 0, ())
    cache = LatentCache.open(tmp_path / "cache")
    assert len(cache) == sum(CLASSES.values())
    torch.testing.assert_close(cache.tokens(range(len(cache))), expected_tokens(pictures))
    found = find_labelled_pictures([pictures])
    assert cache.names == tuple(picture.file.name for picture in found.pictures)
    assert cache.labels.tolist() == [picture.label for picture in found.pictures]
    assert cache.pictures.tolist() == list(range(len(cache)))
    assert cache.label_names == ("bee", "fox", "owl")
    assert cache.captions([0, 1]) is None
    assert (cache.tokenizer_name, cache.tokenizer_model) == ("toy", "toy-nano")
    assert cache.tokenizer == "toy-1"
    assert (cache.size, cache.grid) == ((12, 12), (1, 2, 2))
    assert (cache.num_levels, cache.channels) == (3, 2)


def test_samples_come_in_the_order_that_is_asked_for(whole: Path) -> None:
    cache = LatentCache.open(whole)
    every = cache.tokens(range(len(cache)))
    wanted = [33, 0, 7, 8, 7]
    assert torch.equal(cache.tokens(wanted), every[wanted])
    assert cache.tokens([]).shape == (0, 1, 2, 2, 3, 2)
    assert every.dtype == torch.float32


def test_a_mirrored_copy_follows_its_original(pictures: Path, whole: Path) -> None:
    cache = LatentCache.open(whole)
    count = sum(CLASSES.values())
    assert len(cache) == 2 * count
    assert cache.pictures.tolist() == [i // 2 for i in range(2 * count)]
    assert cache.names[::2] == cache.names[1::2]
    assert torch.equal(cache.labels[::2], cache.labels[1::2])
    original, mirrored = cache.tokens(range(0, 34, 2)), cache.tokens(range(1, 34, 2))
    close = {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(original, expected_tokens(pictures), **close)
    torch.testing.assert_close(mirrored, expected_tokens(pictures, flip=True), **close)
    # The toy's latents are mirrored with the picture: columns change places.
    torch.testing.assert_close(mirrored, original.flip(3), **close)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_statistics_are_those_of_all_stored_tokens(
    pictures: Path, tmp_path: Path, dtype: str
) -> None:
    make_cache(tmp_path / "cache", [pictures], replace(FLIPPED, dtype=dtype))
    cache = LatentCache.open(tmp_path / "cache")
    values = cache.tokens(range(len(cache))).double().flatten(0, 3)
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(cache.statistics.mean, values.mean(dim=0), **close)
    std = values.std(dim=0, correction=0)
    torch.testing.assert_close(cache.statistics.std, std, **close)


@given(jobs=st.integers(2, 11), data=st.data())
def test_parallel_jobs_make_the_cache_of_one(
    jobs: int,
    data: st.DataObject,
    pictures: Path,
    whole: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("jobs") / "cache"
    left = 9
    for job in data.draw(st.permutations(range(jobs))):
        result = make_cache(folder, [pictures], FLIPPED, jobs=jobs, job=job)
        left -= result.written
        assert result.written == len(range(job, 9, jobs))
        assert result.missing == left
    assert contents(folder) == contents(whole)


@given(calls=st.integers(1, 17))
def test_an_interrupted_run_is_continued(
    calls: int, pictures: Path, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Interrupted(ToyTokenizer):
        def encode(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            if self.calls == calls:
                raise KeyboardInterrupt
            return super().encode(*args, **kwargs)  # type: ignore[arg-type]

    folder = tmp_path_factory.mktemp("interrupted") / "cache"
    with pytest.raises(KeyboardInterrupt):
        make_cache(folder, [pictures], FLIPPED, tokenizer=Interrupted())
    done = len(list(folder.glob("shard-*")))
    result = make_cache(folder, [pictures], FLIPPED)
    assert (result.kept, result.written) == (done, 9 - done)
    assert contents(folder) == contents(whole)


KILLED = """
import os, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from labelled_files import SMALL, make_cache
replaced, kept = os.replace, []
def replace_or_die(*args):
    if len(kept) == 4:
        os.kill(os.getpid(), 9)
    kept.append(replaced(*args))
os.replace = replace_or_die
make_cache(Path(sys.argv[3]), [Path(sys.argv[2])], replace(SMALL, flips=True))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_writes_is_continued(
    pictures: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    arguments = [str(Path(__file__).parent), str(pictures), str(folder)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    # The plan and three shards, and what had been written of the fourth.
    assert len(contents(folder)) == 4
    assert len(list(folder.iterdir())) == 5
    result = make_cache(folder, [pictures], FLIPPED)
    assert (result.kept, result.written) == (3, 6)
    assert contents(folder) == contents(whole)


def test_a_zip_elsewhere_continues_a_folder(pictures: Path, whole: Path, tmp_path: Path) -> None:
    archive = zip_of(pictures, tmp_path / "pictures.zip")
    folder = tmp_path / "cache"
    make_cache(folder, [pictures], FLIPPED, jobs=2, job=0)
    make_cache(folder, [archive], FLIPPED)
    assert contents(folder) == contents(whole)


def test_a_finished_cache_is_left_as_it_is(pictures: Path, whole: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in whole.iterdir()}
    result = make_cache(whole, [pictures], FLIPPED)
    assert (result.written, result.kept) == (0, 9)
    assert {path.name: path.stat().st_mtime_ns for path in whole.iterdir()} == before


def test_captions_are_kept(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "pictures", 5)
    rows = [[f"{i}.png", "owl" if i else "", f"number {i}" if i < 3 else ""] for i in range(5)]
    labels = table(tmp_path / "labels.csv", ["name", "class", "caption"], *rows)
    config = replace(SMALL, samples_per_shard=3)
    make_cache(tmp_path / "cache", [folder], config, labels=labels)
    cache = LatentCache.open(tmp_path / "cache")
    assert cache.captions([4, 2, 1, 0]) == ("", "number 2", "number 1", "number 0")
    assert cache.labels.tolist() == [-1, 0, 0, 0, 0]


def test_other_sizes_levels_and_patches(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "pictures", 2)
    config = replace(SMALL, size=(12, 24), levels=2, patches=4)
    make_cache(tmp_path / "cache", [folder], config)
    cache = LatentCache.open(tmp_path / "cache")
    assert (cache.size, cache.grid, cache.num_levels) == ((12, 24), (1, 4, 8), 2)
    assert cache.plan.patches == 4
    assert cache.label_names == ()
    assert cache.labels.tolist() == [-1, -1]


def test_pictures_of_two_sizes_on_one_grid_go_together(tmp_path: Path) -> None:
    """As ImageNet at 256 px and SA-1B at 512 px do."""
    folder = flat_folder(tmp_path / "pictures", 3)
    for name, size in (("small", (12, 12)), ("large", (24, 24))):
        make_cache(tmp_path / name, [folder], replace(SMALL, size=size, patches=2))
    both = LatentCache.open_all([tmp_path / "small", tmp_path / "large"])
    assert (len(both), both.size, both.grid) == (6, (12, 12), (1, 2, 2))
    assert LatentCache.open_all([tmp_path / "large", tmp_path / "small"]).size == (24, 24)


def test_unreadable_pictures_are_skipped_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = flat_folder(tmp_path / "pictures", 40)
    save_picture(folder / "5.png").write_bytes(b"no picture")
    cut = (folder / "7.png").read_bytes()
    (folder / "7.png").write_bytes(cut[:100])
    config = replace(FLIPPED, max_corrupt=0.2)
    result = make_cache(tmp_path / "cache", [folder], config)
    reasons = (f"{folder}/5.png (Pillow cannot identify it)",)
    reasons += (f"{folder}/7.png (image file is truncated)",)
    assert result.skipped == reasons
    said = [f"dcs-dit: note: skipped an unreadable picture: {reason}" for reason in reasons]
    assert capsys.readouterr().err.splitlines() == said
    cache = LatentCache.open(tmp_path / "cache")
    assert len(cache) == 76
    assert not {"5.png", "7.png"} & set(cache.names)
    # Numbers are those of all pictures: each picture's names and latents stay together.
    every = find_labelled_pictures([folder]).pictures
    assert cache.names == tuple(every[i].file.name for i in cache.pictures.tolist())
    # Continuing counts what was skipped before.
    assert make_cache(tmp_path / "cache", [folder], config).skipped == result.skipped
    one_by_one = tmp_path / "jobs"
    for job in range(3):
        make_cache(one_by_one, [folder], config, jobs=3, job=job)
    assert contents(one_by_one) == contents(tmp_path / "cache")


def test_a_shard_may_be_empty(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "pictures", 4)
    for number in (0, 1):
        (folder / f"{number}.png").write_bytes(b"")
    config = replace(SMALL, samples_per_shard=2, max_corrupt=0.5)
    make_cache(tmp_path / "cache", [folder], config)
    cache = LatentCache.open(tmp_path / "cache")
    assert cache.names == ("2.png", "3.png")
    values = cache.tokens([0, 1]).double().flatten(0, 3)
    torch.testing.assert_close(cache.statistics.mean, values.mean(dim=0))


def test_the_fingerprint_names_the_data(pictures: Path, whole: Path, tmp_path: Path) -> None:
    cache = LatentCache.open(whole)
    assert len(cache.fingerprint) == 16
    make_cache(tmp_path / "same", [pictures], FLIPPED)
    make_cache(tmp_path / "other", [pictures], SMALL)
    assert LatentCache.open(tmp_path / "same").fingerprint == cache.fingerprint
    assert LatentCache.open(tmp_path / "other").fingerprint != cache.fingerprint


def test_several_caches_are_used_as_one(pictures: Path, whole: Path, tmp_path: Path) -> None:
    make_cache(tmp_path / "second", [pictures])
    first, second = LatentCache.open(whole), LatentCache.open(tmp_path / "second")
    both = LatentCache.open_all([whole, tmp_path / "second"])
    assert len(both) == 34 + 17
    assert both.names == first.names + second.names
    assert both.pictures.tolist() == first.pictures.tolist() + list(range(17, 34))
    tokens = torch.cat([first.tokens(range(34)), second.tokens(range(17))])
    assert torch.equal(both.tokens(range(51)), tokens)
    values = tokens.double().flatten(0, 3)
    torch.testing.assert_close(both.statistics.mean, values.mean(dim=0), rtol=1e-9, atol=1e-12)
    assert both.fingerprint not in (first.fingerprint, second.fingerprint)
