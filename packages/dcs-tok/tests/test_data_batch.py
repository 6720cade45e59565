"""Batches keep what belongs together, and the count of what could not be read."""

import logging
import pickle
from fractions import Fraction

import pytest
import torch

from dcs_tok.data.batch import TrainingBatch, join_batches, stack_pairs
from dcs_tok.data.corruption import CorruptionCount
from dcs_tok.data.geometry import BatchGeometry

from .errors import error


def batch_of(count: int, skipped: tuple[str, ...] = (), symmetric: bool = False) -> TrainingBatch:
    """A batch of clips."""
    fps, target_fps = Fraction(24), Fraction(24 if symmetric else 12)
    size = (5, 7) if symmetric else (3, 4)
    frames = 4 if symmetric else 2
    geometry = BatchGeometry("clip", 2, (5, 7), size, fps, target_fps, 4, frames)
    pairs = [(torch.rand(3, 4, 5, 7), torch.rand(3, frames, *size)) for _ in range(count)]
    return stack_pairs(pairs, geometry, [f"{i}.mp4" for i in range(count)], skipped)


def test_pairs_are_stacked_in_order() -> None:
    torch.manual_seed(0)
    batch = batch_of(3, ("bad.mp4 (why)",))
    assert batch.pixels.shape == (3, 3, 4, 5, 7)
    assert batch.target.shape == (3, 3, 2, 3, 4)
    assert (batch.fps, batch.target_fps, batch.patches) == (24, 12, 2)
    assert batch.names == ("0.mp4", "1.mp4", "2.mp4")
    assert batch.skipped == ("bad.mp4 (why)",)
    assert len(batch) == 3
    assert not batch.is_symmetric


@pytest.mark.parametrize("symmetric", [False, True])
def test_equal_scales_stay_one_tensor_wherever_a_batch_goes(symmetric: bool) -> None:
    torch.manual_seed(0)
    batch = batch_of(2, symmetric=symmetric)
    moved = batch.to("meta")
    assert moved.pixels.device.type == moved.target.device.type == "meta"
    joined = join_batches([batch, batch])
    for other in (batch, moved, joined, pickle.loads(pickle.dumps(batch))):
        assert other.is_symmetric == symmetric
    assert torch.equal(joined.target, torch.cat([batch.target, batch.target]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("symmetric", [False, True])
def test_pinned_batches_reach_the_device_whole(symmetric: bool) -> None:
    torch.manual_seed(0)
    batch = batch_of(2, symmetric=symmetric)
    pinned = batch.pin_memory()
    assert pinned.pixels.is_pinned()
    assert pinned.target.is_pinned()
    moved = pinned.to("cuda")
    assert moved.is_symmetric == symmetric
    assert torch.equal(moved.pixels.cpu(), batch.pixels)
    assert torch.equal(moved.target.cpu(), batch.target)


def test_parts_of_a_batch_are_joined_in_order() -> None:
    torch.manual_seed(0)
    parts = [batch_of(2, ("a",)), batch_of(1), batch_of(3, ("b", "c"))]
    joined = join_batches(parts)
    assert torch.equal(joined.pixels, torch.cat([part.pixels for part in parts]))
    assert torch.equal(joined.target, torch.cat([part.target for part in parts]))
    assert joined.names == ("0.mp4", "1.mp4", "0.mp4", "0.mp4", "1.mp4", "2.mp4")
    assert joined.skipped == ("a", "b", "c")
    assert join_batches(parts[:1]) is parts[0]


def test_a_few_may_always_be_unreadable(caplog: pytest.LogCaptureFixture) -> None:
    count = CorruptionCount(0.0)
    with caplog.at_level(logging.WARNING):
        for name in "abca":
            count.add(batch_of(1, (name, name)))
    assert (count.skipped, count.seen) == (8, 12)
    assert caplog.messages == [f"skipped an unreadable sample: {name}" for name in "abc"]


def test_too_many_stop_the_run() -> None:
    count = CorruptionCount(0.05)
    count.add(batch_of(160, tuple("abcdefgh")))
    count.add(batch_of(22, ("i",)))
    message = (
        "At most 5 % of the samples may be unreadable, but 10 of 192 are: a, b, c and 6 more. "
        "Repair or remove them, or raise `max_corrupt`."
    )
    with error(message):
        count.add(_skipped_alone("i"))


def _skipped_alone(name: str) -> TrainingBatch:
    return TrainingBatch(
        pixels=torch.empty(0),
        target=torch.empty(0),
        fps=None,
        target_fps=None,
        patches=1,
        names=(),
        skipped=(name,),
    )
