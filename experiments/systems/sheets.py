"""Sheets of pictures with a little white between them."""

from collections.abc import Sequence

import torch
from torch import Tensor

_MARGIN = 2


def sheet(rows: Sequence[Sequence[Tensor]], enlarge: int = 1) -> Tensor:
    """Return pictures (3, H, W) of one size in rows: (3, height, width).

    Args:
        rows: all of one length.
        enlarge: how many times a pixel is repeated, for small pictures.
    """
    return _joined([_joined([_larger(p, enlarge) for p in row], 2) for row in rows], 1)


def _larger(picture: Tensor, times: int) -> Tensor:
    return picture.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    shape = list(parts[0].shape)
    shape[dim] = _MARGIN
    gap = torch.ones(shape)
    between = [piece for part in parts for piece in (part, gap)]
    return torch.cat(between[:-1], dim=dim)
