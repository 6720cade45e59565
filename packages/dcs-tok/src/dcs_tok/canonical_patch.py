"""The canonical patch: one small grid of pixels that stands for a patch of any size and rate.

A patch of ``f x h x w`` pixels is resampled to ``F x g x g`` and back. In space, *reading* the
canonical patch at a size is an ordinary corner-aligned cubic resize, a low-pass filter for sizes
below g. *Writing* it is an inverse of reading: the least-squares one for patches larger than the
grid, and for smaller ones, of all canonical patches that read as the given pixels, the smoothest.
Encoding at any size and decoding at the same therefore loses only what the code leaves out.

In time, canonical frame i sits at ``(i + 1) / F`` of its segment (tail alignment, Fig. 14b).
Frames are read by linear interpolation; before the first known frame, that frame is held. An
image therefore repeats its one frame. Where at least F frames determine the canonical ones, these
are their least-squares inverse, unless it would amplify (at 25 fps and F = 4, some segments have
four frames whose inverse multiplies differences by up to 99); then they are interpolated too.
"""

from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from dcs_common.resample import resize_matrix

# The most that the inverse in time may amplify a frame: 2.5 at 30 fps and F = 4.
_LARGEST_GAIN = 3.0


@lru_cache(maxsize=512)
def spatial_matrices(extent: int, grid: int) -> tuple[Tensor, Tensor]:
    """Return (to canonical, from canonical) for one axis: (grid, extent), (extent, grid)."""
    read = resize_matrix(grid, extent, kernel="cubic")
    if extent >= grid:
        return torch.linalg.pinv(read), read
    # Least sum of squared steps under the constraint that reading gives the pixels (Lagrange).
    steps = torch.eye(grid, dtype=torch.float64).diff(dim=0)
    system = torch.zeros(grid + extent, grid + extent, dtype=torch.float64)
    system[:grid, :grid] = steps.T @ steps
    system[:grid, grid:], system[grid:, :grid] = read.T, read
    pixels = torch.eye(grid + extent, extent, dtype=torch.float64).roll(grid, 0)
    return torch.linalg.solve(system, pixels)[:grid], read


def _hold_interpolation(known: list[Fraction], asked: list[Fraction]) -> Tensor:
    """Return (asked, known) weights of linear interpolation that holds the end values."""
    weights = torch.zeros(len(asked), len(known), dtype=torch.float64)
    for row, time in enumerate(asked):
        after = next((i for i, t in enumerate(known) if t >= time), len(known) - 1)
        if after == 0 or known[after] <= time:
            weights[row, after] = 1
        else:
            share = (time - known[after - 1]) / (known[after] - known[after - 1])
            weights[row, after] = float(share)
            weights[row, after - 1] = 1 - float(share)
    return weights


@lru_cache(maxsize=512)
def temporal_matrices(times: tuple[Fraction, ...], frames: int) -> tuple[Tensor, Tensor]:
    """Return (to canonical, from canonical) in time: (frames, f), (f, frames)."""
    canonical = [Fraction(i + 1, frames) for i in range(frames)]
    read = _hold_interpolation(canonical, list(times))
    if len(times) >= frames and torch.linalg.matrix_rank(read) == frames:
        inverse = torch.linalg.pinv(read)
        if inverse.abs().sum(dim=1).max() <= _LARGEST_GAIN:
            return inverse, read
    return _hold_interpolation(list(times), canonical), read


def full_precision(like: Tensor) -> torch.autocast:
    """Switch autocast off: eight bits of mantissa are too few for pixels and for linear codes."""
    return torch.autocast(like.device.type, enabled=False)


def _resample(frames: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Apply (y, h) to the rows and (x, w) to the columns of (p, f, h, w, c)."""
    with full_precision(frames):
        if rows.shape[0] != rows.shape[1]:
            frames = torch.einsum("pfhwc,yh->pfywc", frames, rows.to(frames))
        if columns.shape[0] != columns.shape[1]:
            frames = torch.einsum("pfhwc,xw->pfhxc", frames, columns.to(frames))
    return frames


def read_frames(frames: Tensor, weights: Tensor) -> Tensor:
    """Apply temporal weights (t, f) to frames (p, f, h, w, c): (p, t, h, w, c)."""
    with full_precision(frames):
        return torch.einsum("pfhwc,tf->pthwc", frames, weights.to(frames))


def to_canonical(patches: Tensor, times: tuple[Fraction, ...], frames: int, grid: int) -> Tensor:
    """Resample patches (p, f, h, w, c) to the canonical grid (p, F, g, g, c).

    A patch of a single frame is returned with one frame, (p, 1, g, g, c): its other canonical
    frames would repeat it.
    """
    f, h, w = patches.shape[1:4]
    patches = _resample(patches, spatial_matrices(h, grid)[0], spatial_matrices(w, grid)[0])
    if f > 1:
        patches = read_frames(patches, temporal_matrices(times, frames)[0])
    return patches


def from_canonical(canonical: Tensor, height: int, width: int) -> Tensor:
    """Read canonical frames (p, f, g, g, c) at another patch size: (p, f, height, width, c)."""
    grid = canonical.shape[2]
    return _resample(canonical, spatial_matrices(height, grid)[1], spatial_matrices(width, grid)[1])
