"""Corner-aligned and tail-aligned resampling (Sec. 6.2, Fig. 14).

Resizing a picture of n samples to m samples is a product with an (m, n) matrix of interpolation
weights along each axis. ``torch.nn.functional.interpolate`` offers no low-pass filter with
``align_corners=True`` that keeps corners fixed, so the weights are made explicit here.
"""

from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Literal

import torch
from torch import Tensor

Alignment = Literal["corner", "center"]


def sample_positions(count: int, alignment: Alignment = "corner") -> Tensor:
    """Return the coordinates of ``count`` samples over the unit interval, float64.

    Corner alignment puts the first at 0 and the last at 1, a single one at 0.5; pixel-centre
    alignment puts them at ``(i + 0.5) / count``.
    """
    if alignment == "center" or count == 1:
        return (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.arange(count, dtype=torch.float64) / (count - 1)


@lru_cache(maxsize=256)
def _taps(source: int, target: int, alignment: Alignment) -> tuple[Tensor, Tensor]:
    """Return indices (target, taps) and weights (target, taps) of a triangle filter.

    Enlarging, the triangle spans one source spacing (linear interpolation). Reducing, it spans
    one target spacing, which removes what the target cannot hold.
    """
    if alignment == "corner" and source > 1:
        spacing = 1 / (source - 1)
        target_spacing = 1 / (target - 1) if target > 1 else 1.0
        offset = 0.0
    else:
        spacing, target_spacing, offset = 1 / source, 1 / target, 0.5
    centers = sample_positions(target, alignment) / spacing - offset  # in source samples
    radius = max(1.0, target_spacing / spacing)
    first = torch.floor(centers - radius).long()
    indices = first[:, None] + torch.arange(2 * ceil(radius) + 2)
    weights = (1 - (indices - centers[:, None]).abs() / radius).clamp(min=0)
    if alignment == "corner" and source > 1:
        indices, weights = _reflect_about_corners(indices, weights, source - 1)
    else:
        weights = weights * ((indices >= 0) & (indices < source))
    keep = (weights != 0).any(dim=0)
    indices, weights = indices[:, keep].clamp(0, source - 1), weights[:, keep]
    weights = weights / weights.sum(dim=1, keepdim=True)
    if alignment == "corner":
        weights = _center_of_mass_at(centers, indices, weights)
    return indices, weights


def _center_of_mass_at(centers: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Tilt filters so that each one's centre of mass is its centre: ramps are kept exactly."""
    distance = indices - centers[:, None]
    shift = (weights * distance).sum(dim=1, keepdim=True)
    spread = (weights * (distance - shift).square()).sum(dim=1, keepdim=True)
    return weights * (1 - shift / spread.clamp(min=1e-12) * (distance - shift))


def _reflect_about_corners(indices: Tensor, weights: Tensor, last: int) -> tuple[Tensor, Tensor]:
    """Continue the signal beyond its corners by point reflection, f(-x) = 2 f(0) - f(x).

    A ramp stays a ramp up to the corner, where clamping would pull the corner sample inwards by
    a fraction of a pixel. Combined with the direct taps no weight becomes negative.
    """
    below, above = indices < 0, indices > last
    mirrored = torch.where(below, -indices, torch.where(above, 2 * last - indices, indices))
    outside = weights * (below | above)
    corners = torch.tensor([0, last]).expand(len(indices), 2)
    at_corners = 2 * torch.stack([(weights * below).sum(1), (weights * above).sum(1)], dim=1)
    return torch.cat([mirrored, corners], dim=1), torch.cat(
        [weights - 2 * outside, at_corners], dim=1
    )


def resize_matrix(source: int, target: int, alignment: Alignment = "corner") -> Tensor:
    """Return the (target, source) matrix that resizes one axis, float64."""
    indices, weights = _taps(source, target, alignment)
    return torch.zeros(target, source, dtype=torch.float64).scatter_add_(1, indices, weights)


def resize(pixels: Tensor, size: tuple[int, int], *, alignment: Alignment = "corner") -> Tensor:
    """Resize the last two axes of ``pixels`` (..., H, W) to ``size`` (height, width).

    Linear interpolation when enlarging, a triangle low-pass filter when reducing. With corner
    alignment the corner samples keep their places (``align_corners=True``).

    Raises:
        ValueError: if the pixels are not floats or a side would have no pixel.
    """
    if not pixels.is_floating_point():
        raise ValueError(
            f"`pixels` must be floats, but are {pixels.dtype}. "
            "Convert them, with `/ 255` for bytes."
        )
    if min(size) < 1:
        raise ValueError(f"`size` must be at least 1x1, but is {size[1]}x{size[0]}.")
    for dim, target in ((-2, size[0]), (-1, size[1])):
        source = pixels.shape[dim]
        if source == target:
            continue
        indices, weights = _taps(source, target, alignment)
        shape = [-1] + [1] * (-dim - 1)
        indices = indices.to(pixels.device)
        weights = weights.to(pixels)
        result = None
        for tap in range(indices.shape[1]):
            term = pixels.index_select(dim, indices[:, tap]) * weights[:, tap].view(shape)
            result = term if result is None else result.add_(term)
        assert result is not None, "every filter has a tap"
        pixels = result
    return pixels


def tail_aligned_frames(frames: int, fps: Fraction, target_fps: Fraction) -> list[int]:
    """Return the source frame nearest to each frame of the same clip at ``target_fps``.

    Both clips end with the same frame (Fig. 14b); ties take the later frame.
    """
    count = max(1, ceil(frames * target_fps / fps))
    ages = [(count - 1 - i) * fps / target_fps for i in range(count)]  # in source frames
    return [max(0, frames - 1 - ceil(age - Fraction(1, 2))) for age in ages]
