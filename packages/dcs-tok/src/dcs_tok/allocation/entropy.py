"""Algorithm 1 of the paper: levels by the entropy of a patch's grey levels (Sec. 6.4)."""

from math import log

import torch
from torch import Tensor

from dcs_common.geometry import PatchGrid
from dcs_common.resample import resize

CELL = 16
"""Pixels along a patch's side when entropy is measured, whatever the picture's scale."""
GREY_LEVELS = 8
"""Of the histogram: coarse ones tell structure from faint texture. Measured: docs/results.md."""
ADJUSTMENTS, SUPPRESSION, SHRINKING = 10, 0.995, 0.999
"""K, theta_1 and theta_2 of Algorithm 1."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def grey_entropy(clip: Tensor, grid: PatchGrid) -> Tensor:
    """Return the entropy in bits of each patch's grey levels: (b, t, h, w), float64.

    Patches are brought to 16 x 16 pixels first, and grey to 8 levels: the paper gives neither
    number.

    Args:
        clip: (b, 3, T, H, W) in [0, 1].
        grid: its patches.
    """
    return torch.stack(
        [_segment_entropy(clip[:, :, span.start : span.stop], grid) for span in grid.spans], dim=1
    )


def _segment_entropy(frames: Tensor, grid: PatchGrid) -> Tensor:
    """Return the entropy of the patches of one segment's frames (b, 3, f, H, W): (b, h, w)."""
    batch, rows, columns = len(frames), grid.rows, grid.columns
    small = resize(frames.transpose(1, 2).flatten(0, 1), (rows * CELL, columns * CELL))
    grey = torch.einsum("nchw,c->nhw", small.clamp(0, 1), small.new_tensor(_LUMA))
    level = (grey * GREY_LEVELS).long().clamp(max=GREY_LEVELS - 1)
    level = level.view(batch, -1, rows, CELL, columns, CELL)
    counts = torch.stack([(level == i).sum(dim=(1, 3, 5)) for i in range(GREY_LEVELS)], dim=-1)
    share = counts.double() / counts.sum(dim=-1, keepdim=True)
    return -torch.xlogy(share, share).sum(dim=-1) / log(2)


def allocate_by_weight(weight: Tensor, average: float, minimum: int, maximum: int) -> Tensor:
    """Return level counts (patches,) for weights (patches,): lines 2 to 18 of Algorithm 1.

    What the listing leaves open: weights that are all alike give ``floor(average)`` everywhere.
    """
    low, high = weight.min(), weight.max()
    if not high > low:
        return torch.full_like(weight, int(average), dtype=torch.long)
    w = minimum + (weight - low) / (high - low) * (maximum - minimum)
    best = w
    for _ in range(ADJUSTMENTS):
        w = w * (average / _mean(w))
        if abs(_mean(w) - average) < abs(_mean(best) - average):
            best = w
        if _mean(w) > average:
            w = w * SUPPRESSION
    levels = best.round().clamp(minimum, maximum)
    while levels.mean() > average:
        best = best * SHRINKING
        levels = best.round().clamp(minimum, maximum)
    return levels.long()


def _mean(weight: Tensor) -> float:
    return max(float(weight.round().mean()), torch.finfo(torch.float64).tiny)
