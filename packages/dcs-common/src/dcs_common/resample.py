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
Kernel = Literal["triangle", "cubic"]


def sample_positions(count: int, alignment: Alignment = "corner") -> Tensor:
    """Return the coordinates of ``count`` samples over the unit interval, float64.

    Corner alignment puts the first at 0 and the last at 1, a single one at 0.5; pixel-centre
    alignment puts them at ``(i + 0.5) / count``.
    """
    if alignment == "center" or count == 1:
        return (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.arange(count, dtype=torch.float64) / (count - 1)


def _kernel_value(distance: Tensor, kernel: Kernel) -> Tensor:
    """Evaluate a kernel; the cubic is Keys' with a = -1/2 (Catmull-Rom)."""
    x = distance.abs()
    if kernel == "triangle":
        return (1 - x).clamp(min=0)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


@lru_cache(maxsize=256)
def _taps(source: int, target: int, alignment: Alignment, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Return indices (target, taps) and weights (target, taps) of a filter.

    Enlarging, the kernel is as wide as the source's spacing (interpolation). Reducing, as the
    target's, which removes what the target cannot hold.
    """
    if alignment == "corner" and source > 1:
        spacing = 1 / (source - 1)
        target_spacing = 1 / (target - 1) if target > 1 else 1.0
        offset = 0.0
    else:
        spacing, target_spacing, offset = 1 / source, 1 / target, 0.5
    centers = sample_positions(target, alignment) / spacing - offset  # in source samples
    radius = max(1.0, target_spacing / spacing)
    reach = radius if kernel == "triangle" else 2 * radius
    first = torch.floor(centers - reach).long()
    indices = first[:, None] + torch.arange(2 * ceil(reach) + 2)
    weights = _kernel_value((indices - centers[:, None]) / radius, kernel)
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
    mass = weights.abs()  # of a cubic, weights alone may have no spread to tilt
    lever = distance - (mass * distance).sum(dim=1, keepdim=True) / mass.sum(dim=1, keepdim=True)
    spread = (mass * lever.square()).sum(dim=1, keepdim=True)
    return weights - shift / spread.clamp(min=1e-12) * mass * lever


def _reflect_about_corners(indices: Tensor, weights: Tensor, last: int) -> tuple[Tensor, Tensor]:
    """Continue the signal beyond its corners by point reflection, f(-x) = 2 f(0) - f(x).

    A ramp stays a ramp up to the corner, where clamping would pull the corner sample inwards by
    a fraction of a pixel. Combined with the direct taps no weight of a triangle becomes negative.
    Reflections go back and forth between the corners, for kernels wider than the signal: every
    2 * last samples the signal repeats, raised by 2 (f(last) - f(0)).
    """
    turns, place = indices.div(2 * last, rounding_mode="floor"), indices.remainder(2 * last)
    turned = place > last
    mirrored = torch.where(turned, 2 * last - place, place)
    corners = torch.tensor([0, last]).expand(len(indices), 2)
    of_first, of_last = -2 * turns * weights, 2 * (turns + turned.long()) * weights
    return torch.cat([mirrored, corners], dim=1), torch.cat(
        [
            torch.where(turned, -weights, weights),
            torch.stack([of_first.sum(dim=1), of_last.sum(dim=1)], dim=1),
        ],
        dim=1,
    )


def resize_matrix(
    source: int,
    target: int,
    alignment: Alignment = "corner",
    kernel: Kernel = "triangle",
) -> Tensor:
    """Return the (target, source) matrix that resizes one axis, float64."""
    indices, weights = _taps(source, target, alignment, kernel)
    return torch.zeros(target, source, dtype=torch.float64).scatter_add_(1, indices, weights)


def resize(
    pixels: Tensor,
    size: tuple[int, int],
    *,
    alignment: Alignment = "corner",
    kernel: Kernel = "triangle",
) -> Tensor:
    """Resize the last two axes of ``pixels`` (..., H, W) to ``size`` (height, width).

    Interpolation when enlarging, a low-pass filter when reducing: linear with the triangle,
    Catmull-Rom with the cubic kernel, whose results may leave the range of the pixels. With
    corner alignment the corner samples keep their places (``align_corners=True``).

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
        indices, weights = _taps(source, target, alignment, kernel)
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
