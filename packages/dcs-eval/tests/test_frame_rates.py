"""Clips: decodes at other frame rates agree with the base decode where the tokenizer does."""

from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.geometry import exact_rate, frames_at_rate
from dcs_common.resample import tail_aligned_frames
from dcs_eval import ReconstructionReport, evaluate_reconstruction
from dcs_eval.frame_rates import at_rate

from .errors import error

FPS = Fraction(24)


def moving(frames: int, fps: Fraction, slope: float = 0.5) -> Tensor:
    """A clip (1, 3, T, 13, 17) whose brightness is 0.8 at its end and ``slope`` less a second."""
    ages = [float((frames - 1 - i) / fps) for i in range(frames)]
    values = 0.8 - slope * torch.tensor(ages)
    return values.view(1, 1, -1, 1, 1).expand(1, 3, -1, 13, 17).clone()


@dataclass
class MovingTokenizer:
    """Decodes :func:`moving` at any rate, 0.1 off at level 1; off by ``drift`` at other rates."""

    drift: float = 0.0

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(num_levels=2)

    def encode(self, pixels: Tensor, *, levels: int, fps: Fraction) -> tuple[int, Fraction]:
        return pixels.shape[2], fps

    def decode(
        self, latents: tuple[int, Fraction], *, size: tuple[int, int], levels: int, fps: Fraction
    ) -> Tensor:
        frames, own = latents
        clip = moving(frames_at_rate(frames, own, fps), fps)
        moved = (0.1 if levels == 1 else 0.0) + (self.drift if fps != own else 0.0)
        return (clip + moved)[..., : size[0], : size[1]]


def evaluate(tokenizer: MovingTokenizer, **options: object) -> ReconstructionReport:
    clips = [("a", moving(13, FPS)), ("b", moving(7, FPS))]
    return evaluate_reconstruction(tokenizer, clips, fps=24, **options)


@given(
    frames=st.integers(2, 30),
    fps=st.sampled_from([12, 24, 25, "30000/1001"]),
    target=st.sampled_from([12, 24, 25, 48, 60, "30000/1001"]),
)
def test_a_steady_motion_is_the_same_at_any_rate(frames: int, fps: int, target: int) -> None:
    """Linear in time, so that interpolation is exact; frames before the first repeat it."""
    own, other = exact_rate(fps), exact_rate(target)
    count = frames_at_rate(frames, own, other)
    found = at_rate(moving(frames, own), own, other, count)
    expected = moving(count, other).clamp(min=float(moving(frames, own).min()))
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("target", [12, 24, 8])
def test_frames_that_coincide_are_taken_as_they_are(target: int) -> None:
    clip = torch.rand(1, 3, 11, 5, 7, generator=torch.Generator().manual_seed(0))
    indices = tail_aligned_frames(11, FPS, Fraction(target))
    found = at_rate(clip, FPS, Fraction(target), len(indices))
    assert torch.equal(found, clip[:, :, indices])


def test_rates_are_compared_with_the_base_decode_not_with_the_source() -> None:
    report = evaluate(MovingTokenizer(drift=0.01), rates=(12, 48))
    assert report.mean(1) == pytest.approx(20, abs=1e-3)
    assert report.mean(2) == float("inf")
    for rate in (12, 48):
        assert report.mean(1, fps=rate) == pytest.approx(40, abs=1e-2)
        assert report.per_picture(2, fps=rate)["b"] == pytest.approx(40, abs=1e-2)


def test_the_table_has_a_column_for_each_rate() -> None:
    report = evaluate(MovingTokenizer(drift=0.01), levels=1, rates=(48,), ssim=lambda a, b: 0.5)
    assert report.table().splitlines() == [
        "| picture | levels | PSNR, dB | SSIM | agreement at 48 fps, dB | SSIM at 48 fps |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| mean | 1 | 20.00 ± 0.00 | 0.5000 ± 0.0000 | 40.00 ± 0.00 | 0.5000 ± 0.0000 |",
    ]
    assert len(report.table(pictures=True).splitlines()) == 5


def test_scales_and_rates_stand_side_by_side() -> None:
    report = evaluate(MovingTokenizer(), levels=2, scales=(1.0, 0.5), rates=(12,))
    assert [(row.picture, row.scale, row.fps) for row in report.rows] == [
        (name, *pair) for name in "ab" for pair in ((1.0, None), (0.5, None), (1.0, 12.0))
    ]


def test_unusable_rates_and_clips() -> None:
    with error(
        "`rates` need clips of a known rate, but `fps` is None and `rates` is (12,). "
        "Pass the frames per second of the clips as `fps`."
    ):
        evaluate_reconstruction(MovingTokenizer(), [("a", moving(3, FPS))], rates=(12,))
    with error(
        "`rates` must be other rates than the clips' own, but 24 is both. "
        "Leave it out: it is always decoded."
    ):
        evaluate(MovingTokenizer(), rates=(12, 24.0))
    with error(
        "Each clip must be a float tensor (1, 3, T, H, W) in [0, 1], but 'a' is torch.float32 "
        "(1, 3, 5, 7). Pass RGB, one clip at a time, or pictures without `fps`."
    ):
        evaluate_reconstruction(MovingTokenizer(), [("a", torch.zeros(1, 3, 5, 7))], fps=24)
    report = evaluate(MovingTokenizer(), levels=1, rates=(12,))
    with error(
        "`fps` must be a rate other than the source's that was evaluated at these levels and "
        "scale 1, but is 48 at 1 and 1. Evaluated: [12.0]."
    ):
        report.mean(1, fps=48)
