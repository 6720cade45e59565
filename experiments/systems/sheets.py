"""Sheets of pictures with a little white between them."""

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from scaling.sheet import column, row

_MARGIN = 2
_LETTER, _LINE, _LINES = 6, 12, 2
"""Pixels of a letter across and of a line, in Pillow's own font; lines of a caption at most."""


def sheet(rows: Sequence[Sequence[Tensor]], enlarge: int = 1) -> Tensor:
    """Return pictures (3, H, W) of one size in rows: (3, height, width).

    Args:
        rows: all of one length.
        enlarge: how many times a pixel is repeated, for small pictures.
    """
    larger = [row([_larger(p, enlarge) for p in pictures], gap=_MARGIN) for pictures in rows]
    return column(larger, gap=_MARGIN)


def with_caption(picture: Tensor, caption: str) -> Tensor:
    """Return a picture (3, H, W) below its caption, shortened to what fits in two lines."""
    width = picture.shape[2]
    lines = textwrap.wrap(caption, max(4, width // _LETTER), max_lines=_LINES, placeholder=" ...")
    strip = Image.new("RGB", (width, _LINES * _LINE + _MARGIN), "white")
    for number, line in enumerate(lines, start=_LINES - len(lines)):
        ImageDraw.Draw(strip).text((0, number * _LINE), line, fill="black")
    pixels = torch.from_numpy(np.asarray(strip).copy()).permute(2, 0, 1) / 255
    return column([pixels, picture], gap=_MARGIN)


def _larger(picture: Tensor, times: int) -> Tensor:
    return picture.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
