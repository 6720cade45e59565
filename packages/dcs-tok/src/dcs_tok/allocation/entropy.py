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
    batch, (_, rows, columns) = len(clip), grid.shape
    frames = clip.transpose(1, 2).flatten(0, 1)  # (b T) 3 H W
    small = resize(frames, (rows * CELL, columns * CELL)).clamp(0, 1)
    grey = torch.einsum("nchw,c->nhw", small, small.new_tensor(_LUMA))
    level = (grey * GREY_LEVELS).long().clamp(max=GREY_LEVELS - 1)
    level = level.view(batch, clip.shape[2], rows, CELL, columns, CELL).permute(0, 1, 2, 4, 3, 5)
    counts = torch.nn.functional.one_hot(level.flatten(4), GREY_LEVELS).sum(dim=4)
    found = []
    for span in grid.spans:
        share = counts[:, span.start : span.stop].sum(dim=1).double()
        share = share / share.sum(dim=-1, keepdim=True)
        found.append(-torch.xlogy(share, share).sum(dim=-1) / log(2))
    return torch.stack(found, dim=1)


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
