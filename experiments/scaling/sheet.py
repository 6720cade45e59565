"""Pictures side by side on a white sheet."""

from collections.abc import Sequence

import torch
from torch import Tensor

GAP = 4


def row(pictures: Sequence[Tensor], *, gap: int = GAP) -> Tensor:
    """Put pictures (3, H, W) of any sizes side by side, their tops aligned; white around them."""
    height = max(picture.shape[1] for picture in pictures)
    parts: list[Tensor] = []
    for picture in pictures:
        parts += [
            _padded(picture.float().cpu(), height, picture.shape[2]),
            torch.ones(3, height, gap),
        ]
    return torch.cat(parts[:-1], dim=2)


def column(rows: Sequence[Tensor], *, gap: int = GAP) -> Tensor:
    """Put pictures (3, H, W) below one another, their left edges aligned."""
    width = max(picture.shape[2] for picture in rows)
    parts: list[Tensor] = []
    for picture in rows:
        parts += [
            _padded(picture.float().cpu(), picture.shape[1], width),
            torch.ones(3, gap, width),
        ]
    return torch.cat(parts[:-1], dim=1)


def grid(pictures: Sequence[Tensor], columns: int, *, gap: int = GAP) -> Tensor:
    """Put pictures into rows of so many."""
    starts = range(0, len(pictures), columns)
    return column([row(pictures[i : i + columns], gap=gap) for i in starts], gap=gap)


def _padded(picture: Tensor, height: int, width: int) -> Tensor:
    out = torch.ones(3, height, width)
    out[:, : picture.shape[1], : picture.shape[2]] = picture
    return out
