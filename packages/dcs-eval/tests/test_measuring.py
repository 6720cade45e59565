"""Many pairs at once: the values of one by one, in order, with bounded memory."""

from collections.abc import Iterator
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.psnr import psnr
from dcs_eval.measuring import measure_all, measure_each
from dcs_eval.metrics import measure, ssim

from .conftest import photograph
from .errors import error

SIZES = ((13, 17), (19, 11), (17, 13))


def noisy(reference: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (reference + 0.05 * torch.randn(reference.shape, generator=generator)).clamp(0, 1)


class Difference:
    """A comparison that notes how many pictures it got at once."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def __call__(self, picture: Tensor, reference: Tensor) -> float:
        return float(self.each(picture, reference))

    def each(self, pictures: Tensor, references: Tensor) -> Tensor:
        self.counts.append(len(pictures))
        return (pictures - references).abs().mean((1, 2, 3))


@settings(max_examples=12)
@given(
    sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=9),
    max_pixels=st.sampled_from([1, 500, 10_000]),
)
def test_equal_to_one_by_one_in_order(sizes: list[tuple[int, int]], max_pixels: int) -> None:
    references = [photograph(index, *size) for index, size in enumerate(sizes)]
    pairs = [(i, noisy(reference, i), reference) for i, reference in enumerate(references)]
    found = list(measure_all(pairs, ssim=ssim, lpips=Difference(), max_pixels=max_pixels))
    assert [key for key, _ in found] == list(range(len(sizes)))
    for (_, quality), (_, picture, reference) in zip(found, pairs, strict=True):
        expected = measure(picture, reference, ssim=ssim, lpips=Difference())
        assert quality.psnr == pytest.approx(expected.psnr, abs=1e-6)
        assert quality.ssim == pytest.approx(expected.ssim, abs=1e-6)
        assert quality.lpips == pytest.approx(expected.lpips, abs=1e-6)


def test_equal_sizes_are_measured_together_in_pieces() -> None:
    reference = photograph(0, 10, 10)
    compare = Difference()
    list(measure_all([(0, reference, reference)] * 7, lpips=compare, max_pixels=300))
    assert compare.counts == [3, 3, 1]


def test_sizes_that_take_turns_are_sorted_into_pieces() -> None:
    compare = Difference()
    pictures = [photograph(0, *size) for size in ((10, 10), (10, 20))] * 2
    list(measure_all([(0, some, some) for some in pictures], lpips=compare, max_pixels=600))
    assert compare.counts == [2, 2]


def test_pairs_are_read_as_they_are_measured() -> None:
    """However many there are, only a piece of them is held."""
    read: list[int] = []

    def pairs() -> Iterator[tuple[int, Tensor, Tensor]]:
        for index in range(100):
            read.append(index)
            yield index, torch.zeros(1, 3, 10, 10), torch.ones(1, 3, 10, 10)

    measuring = measure_all(pairs(), max_pixels=300)
    next(measuring)
    assert len(read) == 4  # three of a piece, and the one that did not fit


def test_a_clip_is_measured_over_all_its_frames() -> None:
    references = torch.stack([photograph(i, 13, 17)[0] for i in range(5)], dim=1)[None]
    clip = noisy(references, 3)
    clip[:, :, 2] = references[:, :, 2]  # one frame alone would be infinitely good
    ((_, found),) = measure_all([("clip", clip, references)], ssim=ssim, max_pixels=500)
    assert found.psnr == pytest.approx(psnr(clip, references), abs=1e-9)
    frames = [ssim(clip[:, :, i], references[:, :, i]) for i in range(5)]
    assert found.ssim == pytest.approx(sum(frames) / 5, abs=1e-6)


def test_clips_of_one_piece_keep_their_own_frames() -> None:
    references = [photograph(seed, 13, 17).unsqueeze(2).repeat(1, 1, 3, 1, 1) for seed in (0, 1)]
    clips = [references[0] + 0.1, references[1] + 0.01]
    found = list(measure_all([(i, clips[i], references[i]) for i in (0, 1)], max_pixels=10_000))
    assert [quality.psnr for _, quality in found] == pytest.approx([20, 40], abs=1e-3)


def test_long_clips_are_cut_into_pieces() -> None:
    compare = Difference()
    clip = torch.zeros(1, 3, 5, 10, 10)
    list(measure_all([("clip", clip, clip)], lpips=compare, max_pixels=300))
    assert compare.counts == [3, 2]


def test_a_batch_gives_a_quality_for_each() -> None:
    references = torch.cat([photograph(i, 13, 17) for i in range(4)])
    pictures = references.clone()
    pictures[2] += 0.1
    found = measure_each(pictures, references)
    assert [quality.psnr for quality in found] == [inf, inf, pytest.approx(20, abs=1e-4), inf]
    assert [quality.ssim for quality in found] == [None] * 4


def test_comparisons_without_each_are_called_one_by_one() -> None:
    pictures = torch.rand(3, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    found = measure_each(pictures, pictures, lpips=lambda first, second: float(first.sum()))
    assert [quality.lpips for quality in found] == pytest.approx(pictures.sum((1, 2, 3)).tolist())


def test_shapes_must_agree() -> None:
    with error(
        "Both pictures must have one shape, but have (2, 3, 5, 7) and (1, 3, 5, 7). "
        "Resize one of them."
    ):
        measure_each(torch.zeros(2, 3, 5, 7), torch.zeros(1, 3, 5, 7))
