"""Shards are read from front to back, and still any step can be asked for."""

import logging
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcs_common.training import Share
from dcs_tok.data import LaneConfig, LoadingConfig, ScaleConfig, ShardSource
from dcs_tok.data.shards import ShardReader, expand_shards
from dcs_tok.data.sources import UnreadableSampleError

from .data_files import numbered_clip, picture_shards, same, samples_of, shard, whole_steps
from .errors import error
from .picture_files import encoded, noise
from .test_data_loading import FORK

SHARDS, SAMPLES = 4, 6
SCALES = ScaleConfig(short_sides=(6, 9), patches=(3,), asymmetric=True)
LANES = LaneConfig(samples_per_shard=SAMPLES, lane_width=3)


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four shards of six pictures."""
    return picture_shards(tmp_path_factory.mktemp("shards"), SHARDS, SAMPLES)


def source(
    pattern: str, scales: ScaleConfig = SCALES, lanes: LaneConfig = LANES, **config: Any
) -> ShardSource:
    """A source of one pattern."""
    return ShardSource([pattern], scales, lanes, seed=3, config=LoadingConfig(**config))


@given(cuts=st.lists(st.integers(1, 6), max_size=5), step=st.integers(0, 30))
def test_any_division_of_a_step_gives_the_same_samples(
    cuts: list[int], step: int, pattern: str
) -> None:
    whole = list(source(pattern).batches(whole_steps(step, step + 2, 7)))
    edges = [0, *sorted(set(cuts)), 7]
    shares = [
        Share(one, start, stop, 7) for one in (step, step + 1) for start, stop in pairwise(edges)
    ]
    parts = list(source(pattern).batches(shares))
    assert [len(part) for part in parts] == [share.stop - share.start for share in shares]
    for one, other in zip(samples_of(whole), samples_of(parts), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
        assert torch.equal(one[2], other[2])


@FORK
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_make_no_difference(workers: int, pattern: str) -> None:
    shares = [Share(step, start, start + 2, 4) for step in range(5) for start in (0, 2)]
    alone = list(source(pattern).batches(shares))
    for one, other in zip(alone, source(pattern, workers=workers).batches(shares), strict=True):
        assert same(one, other)


@given(first=st.integers(0, 30))
def test_resuming_at_a_step_gives_what_would_have_come(first: int, pattern: str) -> None:
    uninterrupted = list(source(pattern).batches(whole_steps(0, first + 3, 4)))
    resumed = list(source(pattern).batches(whole_steps(first, first + 3, 4)))
    for one, other in zip(uninterrupted[first:], resumed, strict=True):
        assert same(one, other)


def test_each_sample_comes_once_in_an_epoch(pattern: str) -> None:
    """Two lanes of three places read four shards of six samples in four steps."""
    batches = list(source(pattern).batches(whole_steps(0, 12, 6)))
    epochs = [
        [name for batch in batches[4 * i : 4 * i + 4] for name in batch.names] for i in range(3)
    ]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == SHARDS * SAMPLES
    assert len(set(map(tuple, epochs))) == 3


def test_lanes_read_their_shards_in_order(pattern: str) -> None:
    batches = list(source(pattern).batches(whole_steps(0, 2, 6)))
    for lane in range(2):
        names = [name for batch in batches for name in batch.names[3 * lane : 3 * lane + 3]]
        path = names[0].rsplit("/", 1)[0]
        number = path.removesuffix(".tar").rsplit("-", 1)[1]
        assert names == [f"{path}/{number}-{j}.png" for j in range(SAMPLES)]
    assert batches[0].names[0].split("/")[-2] != batches[0].names[3].split("/")[-2]


@given(
    batch_size=st.integers(1, 20),
    width=st.integers(1, 7),
    samples=st.integers(1, 9),
)
def test_lanes_count_every_sample_of_every_shard_once(
    batch_size: int, width: int, samples: int
) -> None:
    lanes = LaneConfig(samples_per_shard=samples, lane_width=width)
    steps = samples * 3
    located = [
        lanes.locate(place, batch_size, step)
        for step in range(steps)
        for place in range(batch_size)
    ]
    assert len({(turn, sample) for _, turn, sample in located}) == steps * batch_size
    count = -(-batch_size // width)
    for lane, turn, sample in located:
        assert turn % count == lane
        assert 0 <= sample < samples
    for lane in range(count):  # without a gap, so that whole epochs are whole
        turns = Counter(turn for one, turn, _ in located if one == lane)
        places = min(width, batch_size - lane * width)
        assert sorted(turns) == [lane + i * count for i in range(3 * places)]
        assert set(turns.values()) == {samples}


def test_samples_are_the_pictures_of_the_shards(pattern: str) -> None:
    scales = ScaleConfig(short_sides=(12,), patches=(3,), crop="native", flip=False)
    for name, pixels, _ in samples_of(list(source(pattern, scales).batches(whole_steps(0, 4, 6)))):
        i, j = name.rsplit("/", 1)[1].removesuffix(".png").split("-")
        picture = torch.from_numpy(noise(12, 13, seed=100 * int(i) + int(j))).permute(2, 0, 1)
        whole = (pixels * 255).round().to(torch.uint8)
        assert torch.equal(whole, picture[..., :12]) or torch.equal(whole, picture[..., 1:])


def test_clips_have_shards_of_their_own(pattern: str, tmp_path: Path) -> None:
    for i in range(2):
        members = [
            (f"{j}.mp4", numbered_clip(tmp_path / f"{i}{j}.mp4", 9, 24).read_bytes())
            for j in range(2)
        ]
        shard(tmp_path / f"clips-{i}.tar", members)
    scales = replace(SCALES, clip_share=0.5, clip_seconds=0.1, fps=(24, 12))

    def mixed(first: int) -> list[Any]:
        both = ShardSource(
            [pattern],
            scales,
            LaneConfig(samples_per_shard=2),
            seed=3,
            clip_shards=[str(tmp_path / "clips-{0,1}.tar")],
        )
        return list(both.batches(whole_steps(first, 9, 2)))

    batches = mixed(0)
    assert {batch.pixels.ndim for batch in batches} == {4, 5}
    for batch in batches:
        endings = {name.rsplit(".", 1)[1] for name in batch.names}
        assert endings == ({"mp4"} if batch.fps else {"png"})
    for one, other in zip(batches[5:], mixed(5), strict=True):
        assert same(one, other)


def test_short_shards_begin_again_and_long_ones_are_left(pattern: str) -> None:
    for samples, count in ((4, 4), (9, 6)):
        lanes = LaneConfig(samples_per_shard=samples, lane_width=1)
        batches = list(source(pattern, lanes=lanes).batches(whole_steps(0, 4 * samples, 1)))
        names = Counter(name for batch in batches for name in batch.names)
        assert len(names) == SHARDS * count
        assert max(names.values()) == -(-samples // SAMPLES)


@pytest.mark.parametrize("numbers", [range(20), (5, 4, 3), (0, 0, 7, 1), (11, 2, 2, 3)])
def test_a_reader_gives_any_sample(numbers: Any, pattern: str) -> None:
    path = pattern.replace("{0..3}", "2")
    reader = ShardReader("picture")
    for number in numbers:
        assert reader.at(path, number).location == f"{path}/2-{number % SAMPLES}.png"


def test_a_damaged_sample_is_named_and_replaced_by_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    members = [
        (f"{j}.png", encoded(Image.fromarray(noise(12, 13, seed=j)), "PNG")) for j in range(5)
    ]
    members[2] = ("2.png", b"no picture")
    path = shard(tmp_path / "a.tar", members)
    lanes = LaneConfig(samples_per_shard=5, lane_width=5)

    def read(first: int) -> list[Any]:
        return list(source(str(path), lanes=lanes).batches(whole_steps(first, 3, 5)))

    with caplog.at_level(logging.WARNING):
        batches = read(0)
    for batch in batches:
        assert batch.names == tuple(f"{path}/{j}.png" for j in (0, 1, 3, 3, 4))
        assert batch.skipped == (f"{path}/2.png (Pillow cannot identify it)",)
    # Each of the two is cut for its own place.
    assert not all(torch.equal(batch.pixels[2], batch.pixels[3]) for batch in batches)
    assert caplog.messages == [f"skipped an unreadable sample: {batches[0].skipped[0]}"]
    assert same(batches[2], read(2)[0])


def test_a_shard_that_was_cut_off_gives_what_is_left_of_it(tmp_path: Path) -> None:
    members = [
        (f"{j:02d}.png", encoded(Image.fromarray(noise(12, 13, seed=j)), "PNG")) for j in range(16)
    ]
    path = shard(tmp_path / "a.tar", members)
    whole = list(
        source(str(path), lanes=LaneConfig(samples_per_shard=16)).batches(whole_steps(0, 4, 4))
    )
    content = path.read_bytes()
    cut = content.index(members[5][1]) + 3
    path.write_bytes(content[:cut])
    lanes = LaneConfig(samples_per_shard=16)

    def read(first: int) -> list[Any]:
        return list(source(str(path), lanes=lanes, max_corrupt=1).batches(whole_steps(first, 4, 4)))

    batches = read(0)
    names = [int(name[-6:-4]) for batch in batches for name in batch.names]
    # Sample 4 is whole, but what follows it is not: it may have had more files.
    assert names == [0, 1, 2, 3, 2, 2, 3, 3, 2, 2, 2, 2, 3, 0, 0, 0]
    assert same(batches[0], whole[0])
    assert {name for batch in batches for name in batch.skipped} == {
        f"{path} (unexpected end of data)"
    }
    for one, other in zip(batches[1:], read(1), strict=True):
        assert same(one, other)


def test_other_shards_replace_one_that_is_none(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 99)
    shards = [pattern, str(tmp_path / "b.tar")]
    both = ShardSource(shards, SCALES, LANES, seed=0, config=LoadingConfig(max_corrupt=1.0))
    batches = list(both.batches(whole_steps(0, 5, 6)))
    assert {name.split(" (")[0] for batch in batches for name in batch.skipped} == {
        str(tmp_path / "b.tar")
    }
    assert all("train-" in name for batch in batches for name in batch.names)


def test_shards_without_a_sample(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", [("0.txt", b"no picture")])
    message = f"Every shard must be readable, but {str(path)!r} is not: it holds no picture."
    with error(f"{message} Remove it."):
        ShardReader("picture").at(str(path), 0)
    name = f"{path} (it holds no picture)"
    message = f"Of 8 samples one must be readable, but none is: {name}, {name}, {name} and 5 more."
    with error(f"{message} Write the shards again."):
        list(source(str(path)).batches(whole_steps(0, 1, 1)))


def test_shards_may_come_from_a_command(pattern: str) -> None:
    path = pattern.replace("{0..3}", "1")
    reader = ShardReader("picture")
    assert reader.at(f"pipe:cat {path}", 1).location == f"pipe:cat {path}/1-1.png"
    assert reader.at(f"pipe:cat {path}", 0).content == ShardReader("picture").at(path, 0).content
    with pytest.raises(UnreadableSampleError):
        reader.at("pipe:false", 0)


def test_missing_shards(tmp_path: Path, pattern: str) -> None:
    missing = tmp_path / "gone-{00..04}.tar"
    names = ", ".join(str(tmp_path / f"gone-0{i}.tar") for i in range(3))
    message = f"Every shard must exist, but 5 of 9 do not: {names} and 2 more. Correct the pattern."
    with error(message):
        expand_shards([pattern, str(missing)])


def test_no_shards_of_a_kind(pattern: str) -> None:
    message = "must name shards of {}s, but is empty. Name some, or change `clip_share`."
    with error("`shards` " + message.format("picture")):
        ShardSource([], SCALES, LANES, seed=0)
    with error("`clip_shards` " + message.format("clip")):
        ShardSource([pattern], replace(SCALES, clip_share=0.5), LANES, seed=0)


def test_shards_need_webdataset(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webdataset", None)
    message = (
        "Shards need WebDataset, but it is not installed. Install it with "
        "`pip install 'dcs-tok[train]'`."
    )
    with error(message):
        source(pattern)


@pytest.mark.parametrize("name", ["samples_per_shard", "lane_width"])
def test_lanes_that_cannot_be(name: str) -> None:
    with error(f"`{name}` must be at least 1, but is 0."):
        LaneConfig(**{"samples_per_shard": 1, name: 0})


def test_the_fingerprint_tells_sets_apart(pattern: str) -> None:
    fewer = pattern.replace("..3", "..2")
    others = (source(fewer), source(pattern, lanes=replace(LANES, lane_width=2)))
    prints = {source(pattern).fingerprint, *(other.fingerprint for other in others)}
    assert len(prints) == 3
    assert source(pattern, workers=2).fingerprint in prints
