"""What a sample is depends on seed, step and place alone: any division, any beginning."""

import logging
import multiprocessing
import os
import pickle
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.training import Share
from dcs_tok.data import LoadingConfig, PictureAndClipSource, ScaleConfig, TrainingBatch
from dcs_tok.data.loading import PictureCache
from dcs_tok.data.sources import SampleOpener, find_samples

from .data_files import (
    deflated,
    numbered_clip,
    numbers_of,
    picture_folder,
    same,
    samples_of,
    whole_steps,
    zip_of,
)
from .errors import error

PICTURES = 11
SCALES = ScaleConfig(
    short_sides=(6, 9, 12), aspects=((1, 1), (3, 4)), patches=(3, 5), asymmetric=True
)
MIXED = replace(SCALES, clip_share=0.4, fps=(12, 24), clip_seconds=0.2)
FORK = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create", "ignore:.*use of fork.*:DeprecationWarning"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven pictures and three clips."""
    folder = picture_folder(tmp_path_factory.mktemp("data") / "set", PICTURES)
    for i in range(3):
        numbered_clip(folder / f"{i}.mp4", 20 + i, 24)
    return folder


def source(
    folder: Path, scales: ScaleConfig = SCALES, seed: int = 3, **config: Any
) -> PictureAndClipSource:
    """A source of one folder."""
    return PictureAndClipSource([folder], scales, seed=seed, config=LoadingConfig(**config))


@given(cuts=st.lists(st.integers(1, 6), max_size=5), steps=st.integers(0, 30))
def test_any_division_of_a_step_gives_the_same_samples(
    cuts: list[int], steps: int, folder: Path
) -> None:
    whole = list(source(folder).batches(whole_steps(steps, steps + 2, 7)))
    edges = [0, *sorted(set(cuts)), 7]
    shares = [
        Share(step, start, stop, 7)
        for step in (steps, steps + 1)
        for start, stop in pairwise(edges)
    ]
    parts = list(source(folder).batches(shares))
    assert [len(part) for part in parts] == [share.stop - share.start for share in shares]
    for one, other in zip(samples_of(whole), samples_of(parts), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
        assert torch.equal(one[2], other[2])


def test_first_frames_of_clips_are_pictures(folder: Path) -> None:
    scales = ScaleConfig(short_sides=(16,), patches=(4,), flip=False, first_frames=True)
    data = source(folder, scales)
    assert data.samples == {"picture": find_samples([folder])}
    epoch = samples_of(list(data.batches(whole_steps(0, 2, 7))))
    clips = {name: pixels for name, pixels, _ in epoch if name.endswith(".mp4")}
    assert sorted(clips) == [f"{folder}/{i}.mp4" for i in range(3)]
    for pixels in clips.values():
        assert numbers_of(pixels.unsqueeze(1)) == [0]
    assert source(folder).fingerprint != data.fingerprint


@FORK
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_no_difference(workers: int, folder: Path) -> None:
    shares = [Share(step, start, start + 2, 4) for step in range(6) for start in (0, 2)]
    alone = list(source(folder, MIXED).batches(shares))
    for one, other in zip(
        alone, source(folder, MIXED, workers=workers).batches(shares), strict=True
    ):
        assert same(one, other)
        assert one.is_symmetric == other.is_symmetric


@FORK
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_workers_finish_a_run_that_a_scheduler_ends(number: int, folder: Path) -> None:
    shares = whole_steps(0, 6, 2)
    alone = list(source(folder, MIXED).batches(shares))
    batches = source(folder, MIXED, workers=2).batches(shares)
    before = set(multiprocessing.active_children())
    found = [next(batches), next(batches)]  # one of each worker, so that both are at work
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    for worker in workers:
        assert worker.pid is not None
        os.kill(worker.pid, number)
    found += batches
    assert all(same(one, other) for one, other in zip(alone, found, strict=True))


@given(first=st.integers(0, 12))
def test_resuming_at_a_step_gives_what_would_have_come(first: int, folder: Path) -> None:
    uninterrupted = list(source(folder, MIXED).batches(whole_steps(0, first + 3, 2)))
    resumed = list(source(folder, MIXED).batches(whole_steps(first, first + 3, 2)))
    for one, other in zip(uninterrupted[first:], resumed, strict=True):
        assert same(one, other)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 23])
def test_each_epoch_visits_each_sample_once(batch_size: int, folder: Path) -> None:
    steps = -(-3 * PICTURES // batch_size)
    names = [
        name
        for batch in source(folder).batches(whole_steps(0, steps, batch_size))
        for name in batch.names
    ]
    epochs = [names[i * PICTURES : (i + 1) * PICTURES] for i in range(3)]
    for epoch in epochs:
        assert len(set(epoch)) == PICTURES
    assert len(set(map(tuple, epochs))) == 3


def test_each_kind_has_epochs_of_its_own(folder: Path) -> None:
    batches = list(source(folder, MIXED).batches(whole_steps(0, 64, 3)))
    clips = [name for batch in batches if batch.fps for name in batch.names]
    pictures = [name for batch in batches if not batch.fps for name in batch.names]
    assert len(clips) == 3 * 25
    assert set(Counter(clips).values()) == {25}
    assert len(pictures) == 3 * 39
    assert set(Counter(pictures).values()) == {10, 11}
    for batch in batches:
        assert batch.pixels.ndim == (5 if batch.fps else 4)
        assert all(name.endswith(".mp4" if batch.fps else ".png") for name in batch.names)


def test_batches_are_pictures_in_range(folder: Path) -> None:
    for batch in source(folder, MIXED).batches(whole_steps(0, 12, 2)):
        for pixels in (batch.pixels, batch.target):
            assert pixels.dtype == torch.float32
            assert pixels.min() >= 0
            assert pixels.max() <= 1
            assert pixels.is_contiguous()
        assert batch.patches in (3, 5)


def test_symmetric_scales_give_one_tensor(folder: Path) -> None:
    scales = replace(SCALES, asymmetric=False)
    for batch in source(folder, scales).batches(whole_steps(0, 4, 2)):
        assert batch.target is batch.pixels


def test_a_run_of_another_seed_sees_other_things(folder: Path) -> None:
    first, second = (
        list(source(folder, seed=seed).batches(whole_steps(0, 5, 4))) for seed in (3, 4)
    )
    assert [batch.names for batch in first] != [batch.names for batch in second]


def test_the_same_picture_is_cut_differently_in_every_step(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes((folder / "a" / "00.png").read_bytes())
    scales = ScaleConfig(short_sides=(6,), patches=(3,), crop="native")
    batches = list(source(tmp_path, scales).batches(whole_steps(0, 5, 4)))
    crops = {pixels.numpy().tobytes() for _, pixels, _ in samples_of(batches)}
    assert len(crops) > 15


@pytest.mark.parametrize("write", [zip_of, deflated])
def test_a_zip_gives_what_its_folder_gives(
    write: Callable[[Path, Path], Path], folder: Path, tmp_path: Path
) -> None:
    archive = write(folder, tmp_path / "set.zip")
    in_folder, in_zip = source(folder, MIXED), source(archive, MIXED)
    assert in_zip.fingerprint == in_folder.fingerprint
    shares = whole_steps(0, 8, 3)
    for one, other in zip(in_folder.batches(shares), in_zip.batches(shares), strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.target, other.target)


def test_the_fingerprint_tells_sets_apart(folder: Path, tmp_path: Path) -> None:
    fewer = picture_folder(tmp_path / "fewer", PICTURES - 1)
    prints = {
        source(folder).fingerprint,
        source(folder, MIXED).fingerprint,
        source(fewer).fingerprint,
    }
    assert len(prints) == 3
    assert source(folder, seed=9).fingerprint == source(folder).fingerprint


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=FORK)])
def test_the_global_random_state_is_left_alone(workers: int, folder: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(source(folder, workers=workers).batches(whole_steps(0, 2, 2)))
    assert torch.equal(torch.rand(3), expected)


def test_an_endless_run_reads_what_is_asked_for(folder: Path) -> None:
    asked = []

    def shares() -> Any:
        for step in count():
            asked.append(step)
            yield Share(step, 0, 2, 2)

    batches = source(folder).batches(shares())
    for _ in range(3):
        next(batches)
    assert asked == [0, 1, 2]


def test_cached_pictures_are_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = whole_steps(0, 9, 4)
    expected = list(source(folder).batches(shares))
    reads: list[str] = []
    read = SampleOpener.read_picture

    def watched(self: SampleOpener, sample: Any) -> Any:
        reads.append(sample.name)
        return read(self, sample)

    monkeypatch.setattr(SampleOpener, "read_picture", watched)
    for one, other in zip(expected, source(folder, cache_mib=1).batches(shares), strict=True):
        assert same(one, other)
    assert len(reads) == PICTURES
    reads.clear()
    assert len(list(source(folder).batches(shares))) == 9
    assert len(reads) == 36


def test_the_cache_keeps_to_its_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = SampleOpener.read_picture

    def watched(self: SampleOpener, sample: Any) -> Any:
        reads.append(sample.name)
        return read(self, sample)

    monkeypatch.setattr(SampleOpener, "read_picture", watched)
    samples = find_samples([folder], ["picture"])
    cache = PictureCache(SampleOpener(), 4 * 3 * 20 * 23 + 5)
    for _ in range(3):
        for sample in samples:
            assert torch.equal(cache.read(sample), read(SampleOpener(), sample))
    assert Counter(reads) == {sample.name: 1 if i < 4 else 3 for i, sample in enumerate(samples)}


def damage(folder: Path, *names: str) -> None:
    """Cut pictures off."""
    for name in names:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])


def with_whole_ones(batches: list[TrainingBatch], damaged: list[TrainingBatch]) -> None:
    """Hold batches of a set in which one picture is damaged against those of the whole set."""
    for whole, other in zip(batches, damaged, strict=True):
        for i, name in enumerate(whole.names):
            if name.endswith("a/04.png"):
                assert other.names[i] != name
            else:
                assert other.names[i] == name
                assert torch.equal(whole.pixels[i], other.pixels[i])


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=FORK)])
def test_a_damaged_picture_is_named_counted_and_replaced(
    workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = picture_folder(tmp_path / "set", PICTURES)
    shares = whole_steps(0, 11, 4)
    whole = list(source(folder).batches(shares))
    damage(folder, "a/04.png")
    with caplog.at_level(logging.WARNING):
        damaged = list(source(folder, workers=workers).batches(shares))
    with_whole_ones(whole, damaged)
    skipped = [name for batch in damaged for name in batch.skipped]
    assert len(skipped) >= 4  # once in each of four epochs, and where it would stand in for itself
    assert len(set(skipped)) == 1
    assert skipped[0].startswith(f"{folder}/a/04.png (")
    assert caplog.messages == [f"skipped an unreadable sample: {skipped[0]}"]
    for one, other in zip(damaged, source(folder).batches(shares), strict=True):
        assert same(one, other)
    resumed = list(source(folder).batches(whole_steps(7, 11, 4)))
    for one, other in zip(damaged[7:], resumed, strict=True):
        assert same(one, other)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=FORK)])
def test_too_many_damaged_pictures_stop_the_run(workers: int, tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "set", PICTURES)
    damage(folder, "a/04.png", "b/03.png")
    shares = whole_steps(0, 99, 5)
    tolerant = source(folder, max_corrupt=1.0)
    seen, skipped = 0, []
    for batch in tolerant.batches(shares):
        seen += len(batch) + len(batch.skipped)
        skipped += batch.skipped
        if len(skipped) > 8:
            break
    names = ", ".join(dict.fromkeys(skipped))
    message = (
        f"At most 5 % of the samples may be unreadable, but {len(skipped)} of {seen} are: "
        f"{names}. Repair or remove them, or raise `max_corrupt`."
    )
    with error(message):
        list(source(folder, workers=workers).batches(shares))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=FORK)])
def test_nothing_but_damaged_pictures(workers: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    name = f"{tmp_path}/a.png (Pillow cannot identify it)"
    message = (
        f"Of 32 samples one must be readable, but none is: {name}, {name}, {name} and 29 more. "
        "Repair or remove them."
    )
    with error(message):
        list(source(tmp_path, workers=workers).batches(whole_steps(0, 1, 2)))


def test_a_damaged_clip_is_replaced(tmp_path: Path) -> None:
    for i in range(3):
        numbered_clip(tmp_path / f"{i}.mp4", 12, 24)
    (tmp_path / "1.mp4").write_bytes(b"no clip")
    scales = replace(MIXED, clip_share=1.0)
    batches = list(source(tmp_path, scales).batches(whole_steps(0, 3, 2)))
    assert {Path(name).name for batch in batches for name in batch.names} == {"0.mp4", "2.mp4"}
    skipped = [name for batch in batches for name in batch.skipped]
    assert len(skipped) >= 2
    assert all(re.match(re.escape(f"{tmp_path}/1.mp4 ("), name) for name in skipped)


def test_folders_without_a_sample(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sample")
    message = (
        f"The sources must hold a picture, but {[str(tmp_path)]} hold none of .bmp, .jpeg, .jpg, "
        ".png, .ppm, .webp. Name others, or change `clip_share`."
    )
    with error(message):
        source(tmp_path)


def test_folders_without_a_clip(tmp_path: Path) -> None:
    picture_folder(tmp_path, 2)
    message = (
        f"The sources must hold a clip, but {[str(tmp_path)]} hold none of .mp4, .mkv, .mov, "
        ".avi, .webm, .m4v, .mpg, .y4m. Name others, or change `clip_share`."
    )
    with error(message):
        source(tmp_path, MIXED)


def test_clips_need_pyav(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert source(folder).samples.keys() == {"picture"}
    message = (
        "Clips need PyAV, but it is not installed. Install it with `pip install 'dcs-tok[video]'`."
    )
    with error(message):
        source(folder, MIXED)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"workers": -1}, "`workers` must be at least 0, but is -1."),
        ({"prefetch": 0}, "`prefetch` must be at least 1, but is 0."),
        ({"cache_mib": -5}, "`cache_mib` must be at least 0, but is -5."),
        ({"max_corrupt": 1.5}, "`max_corrupt` must be in [0, 1], but is 1.5."),
    ],
)
def test_ways_of_loading_that_cannot_be(config: dict[str, Any], message: str) -> None:
    with error(message):
        LoadingConfig(**config)


def test_what_workers_need_can_be_sent_to_them(folder: Path) -> None:
    """Processes that do not begin as a copy of this one get it pickled."""
    first = source(folder, MIXED, cache_mib=1)
    shares = whole_steps(0, 4, 2)
    expected = list(first.batches(shares))
    sent = pickle.loads(pickle.dumps(first))
    for one, other in zip(expected, sent.batches(shares), strict=True):
        assert same(one, other)
