"""A sheet of samples beside the training pictures nearest to them, to judge memory by eye."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from dcs_eval.eight_bit import to_image

TILE = 128  # pixels a side, whatever the pictures' size
_GAP, _HEAD = 4, 18
_TITLES = ("sample", "nearest by features", "nearest by pixels")


def nearest_sheet(
    triples: Sequence[tuple[Tensor, Tensor, Tensor]], columns: int = 3
) -> Image.Image:
    """Return rows of sample | nearest by features | nearest by pixels.

    Args:
        triples: pictures (1, 3, H, W) in [0, 1].
        columns: how many triples stand side by side.

    Raises:
        ValueError: if there is none.
    """
    if not triples:
        raise ValueError("`triples` must hold at least one sample, but is empty.")
    columns = min(columns, len(triples))
    wide, high = 3 * TILE + 4 * _GAP, TILE + _GAP
    rows = -(-len(triples) // columns)
    sheet = Image.new("RGB", (columns * wide, _HEAD + rows * high), "white")
    draw = ImageDraw.Draw(sheet)
    for column in range(columns):
        for place, title in enumerate(_TITLES):
            draw.text((column * wide + place * (TILE + _GAP) + _GAP, 3), title, fill="black")
    for index, triple in enumerate(triples):
        left, top = index % columns * wide, _HEAD + index // columns * high
        for place, picture in enumerate(triple):
            tile = ImageOps.pad(to_image(picture), (TILE, TILE), color="white")
            sheet.paste(tile, (left + place * (TILE + _GAP), top))
    return sheet
