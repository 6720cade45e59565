"""The canonical patch: one small grid of pixels that stands for a patch of any size and rate.

A patch of ``f x h x w`` pixels is resampled to ``F x g x g`` and back. In space the coarser of
the two grids is linked to the finer by corner-aligned linear interpolation, and the finer to the
coarser by the least-squares inverse of that interpolation, so that going to the finer grid and
back changes nothing, and going to the coarser one keeps what it can hold.

In time, canonical frame i sits at ``(i + 1) / F`` of its segment (tail alignment, Fig. 14b).
Frames are read by linear interpolation; before the first known frame, that frame is held. An
image therefore repeats its one frame.
"""

from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from dcs_common.resample import resize_matrix


@lru_cache(maxsize=512)
def spatial_matrices(extent: int, grid: int) -> tuple[Tensor, Tensor]:
    """Return (to canonical, from canonical) for one axis: (grid, extent), (extent, grid)."""
    if extent >= grid:
        read = resize_matrix(grid, extent)
        return torch.linalg.pinv(read), read
    fill = resize_matrix(extent, grid)
    return fill, torch.linalg.pinv(fill)


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
        return torch.linalg.pinv(read), read
    return _hold_interpolation(list(times), canonical), read


def to_canonical(patches: Tensor, times: tuple[Fraction, ...], frames: int, grid: int) -> Tensor:
    """Resample patches (p, f, h, w, c) to the canonical grid (p, F, g, g, c).

    A patch of a single frame is returned with one frame, (p, 1, g, g, c): its other canonical
    frames would repeat it.
    """
    f, h, w = patches.shape[1:4]
    rows = spatial_matrices(h, grid)[0].to(patches)
    columns = spatial_matrices(w, grid)[0].to(patches)
    if h != grid:
        patches = torch.einsum("pfhwc,gh->pfgwc", patches, rows)
    if w != grid:
        patches = torch.einsum("pfhwc,gw->pfhgc", patches, columns)
    if f > 1:
        in_time = temporal_matrices(times, frames)[0].to(patches)
        patches = torch.einsum("pfhwc,tf->pthwc", patches, in_time)
    return patches


def from_canonical(canonical: Tensor, height: int, width: int) -> Tensor:
    """Read canonical frames (p, f, g, g, c) at another patch size: (p, f, height, width, c)."""
    grid = canonical.shape[2]
    if height != grid:
        rows = spatial_matrices(height, grid)[1].to(canonical)
        canonical = torch.einsum("pfhwc,yh->pfywc", canonical, rows)
    if width != grid:
        columns = spatial_matrices(width, grid)[1].to(canonical)
        canonical = torch.einsum("pfhwc,xw->pfhxc", canonical, columns)
    return canonical
