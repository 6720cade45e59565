"""Sheets of pictures with a little white between them."""

from collections.abc import Sequence

from torch import Tensor

from scaling.sheet import column, row

_MARGIN = 2


def sheet(rows: Sequence[Sequence[Tensor]], enlarge: int = 1) -> Tensor:
    """Return pictures (3, H, W) of one size in rows: (3, height, width).

    Args:
        rows: all of one length.
        enlarge: how many times a pixel is repeated, for small pictures.
    """
    larger = [row([_larger(p, enlarge) for p in pictures], gap=_MARGIN) for pictures in rows]
    return column(larger, gap=_MARGIN)


def _larger(picture: Tensor, times: int) -> Tensor:
    return picture.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
