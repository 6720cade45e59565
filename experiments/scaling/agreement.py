"""Whether decodes of one latent at several scales show one content, and what they gain by it."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from dcs_common.psnr import psnr
from dcs_common.resample import resize, tail_aligned_frames

EXACT = 100.0
"""In dB, what decodes without any difference count as; JSON knows no infinity."""


def enlarged(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize without a model: cubic, with a low-pass where it reduces; pixel centres."""
    return resize(pixels, size, alignment="center", kernel="cubic").clamp(0, 1)


def size_agreement(first: Tensor, second: Tensor) -> float:
    """Return the PSNR in dB of two decodes (..., H, W), the larger reduced to the smaller's size.

    Reduced with a low-pass filter, so that detail which the smaller cannot hold does not count.
    """
    small, large = sorted((first, second), key=lambda pixels: pixels.shape[-1])
    size = (small.shape[-2], small.shape[-1])
    return min(EXACT, psnr(resize(large, size, alignment="center"), small))


def rate_agreement(first: Tensor, rate: int, second: Tensor, other_rate: int) -> float:
    """Return the PSNR in dB of two decodes (..., T, H, W) over the moments that both show.

    Both end with the same frame; the slower one's frames are some of the faster one's.
    """
    (slow, slower), (fast, faster) = sorted(
        ((first, rate), (second, other_rate)), key=lambda pair: pair[1]
    )
    step = Fraction(faster, slower)
    ages = [i * step for i in range(slow.shape[-3])]
    common = [i for i, age in enumerate(ages) if age.denominator == 1 and age < fast.shape[-3]]
    found = psnr(
        slow[..., [slow.shape[-3] - 1 - i for i in common], :, :],
        fast[..., [fast.shape[-3] - 1 - int(ages[i]) for i in common], :, :],
    )
    return min(EXACT, found)


def repeated_frames(clip: Tensor, rate: int, target_rate: int) -> Tensor:
    """Return a clip (..., T, H, W) at another rate by its nearest frames, as a player does."""
    chosen = tail_aligned_frames(clip.shape[-3], Fraction(rate), Fraction(target_rate))
    return clip[..., chosen, :, :]


def blended_frames(clip: Tensor, rate: int, target_rate: int) -> Tensor:
    """Return a clip (..., T, H, W) at another rate by blending neighbours linearly."""
    count = len(tail_aligned_frames(clip.shape[-3], Fraction(rate), Fraction(target_rate)))
    last = clip.shape[-3] - 1
    places = [max(0.0, last - (count - 1 - i) * rate / target_rate) for i in range(count)]
    frames: Sequence[Tensor] = [_between(clip, place, last) for place in places]
    return torch.stack(list(frames), dim=-3)


def _between(clip: Tensor, place: float, last: int) -> Tensor:
    first = int(place)
    share = place - first
    before, after = clip[..., first, :, :], clip[..., min(last, first + 1), :, :]
    return before + share * (after - before)
