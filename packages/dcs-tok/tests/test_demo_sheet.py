"""The demo's sheet shows every tile wholly: nothing overlaps and nothing is cut off."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from torch import Tensor

from dcs_tok.demo import Row, Tile, draw_sheet

LONG = "31.41 dB; 59.26 dB to encoded at 4032x3024"


def flat_tile(number: int, height: int, width: int, figure: str = "31.41 dB; 59.26 dB") -> Tile:
    """A tile of one colour that nothing else on the sheet has."""
    colour = torch.tensor([255.0, 8.0 * number, 0.0]) / 255
    return Tile(colour[:, None, None].expand(3, height, width), f"tile {number}", figure)


def pixels_of(sheet: Image.Image, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns at which the sheet has the colour of a flat tile."""
    colour = tile.pixels[:, 0, 0].mul(255).round().to(torch.uint8).numpy()
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    assert len(rows) > 0, f"{tile.title} is nowhere"
    return rows, columns


def left_edge(sheet: Image.Image, tile: Tile) -> int:
    """Return the first column of a flat tile."""
    return int(pixels_of(sheet, tile)[1].min())


def region(sheet: Image.Image, tile: Tile) -> tuple[int, int]:
    """Return the (height, width) that a flat tile has on the sheet, checking that it is whole."""
    rows, columns = pixels_of(sheet, tile)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == height * width, f"{tile.title} is covered"
    return int(height), int(width)


def aspect(pixels: Tensor) -> float:
    """Height over width."""
    return pixels.shape[1] / pixels.shape[2]


@pytest.mark.parametrize("size", [(30, 45), (450, 300), (20, 70)])
@pytest.mark.parametrize("levels", [1, 5, 8])
def test_tiles_of_a_row_share_one_width(levels: int, size: tuple[int, int]) -> None:
    tiles = tuple(flat_tile(i, *size) for i in range(levels + 1))
    sheet = draw_sheet([Row("Levels", "a remark", tiles)])
    shown = [region(sheet, tile) for tile in tiles]
    assert len(set(shown)) == 1
    assert shown[0][0] / shown[0][1] == pytest.approx(size[0] / size[1], rel=0.02)
    assert shown[0][1] > 250  # of 1600: differences of levels can be seen


@pytest.mark.parametrize("size", [(300, 450), (150, 100), (24, 32), (700, 1000)])
def test_tiles_of_several_scales_keep_their_proportions(size: tuple[int, int]) -> None:
    factors = (0.5, 1, 2)
    tiles = tuple(
        flat_tile(i, round(size[0] * f), round(size[1] * f)) for i, f in enumerate(factors)
    )
    sheet = draw_sheet([Row("Scales", "a remark", tiles, exact=True)])
    heights, widths = zip(*(region(sheet, tile) for tile in tiles), strict=True)
    for i, factor in enumerate(factors):
        assert heights[i] == pytest.approx(heights[1] * factor, abs=1)
        assert widths[i] == pytest.approx(widths[1] * factor, abs=1)
    assert heights[1] / widths[1] == pytest.approx(aspect(tiles[1].pixels), rel=0.05)


@pytest.mark.parametrize("size", [(150, 200), (200, 100), (64, 64)])
def test_all_rows_of_a_demo_fit_on_one_sheet(size: tuple[int, int]) -> None:
    height, width = size
    levels = tuple(flat_tile(i, height // 3, width // 3) for i in range(9))
    scales = tuple(
        flat_tile(9 + i, height * s // 2, width * s // 2) for i, s in enumerate((1, 2, 4))
    )
    others = (flat_tile(12, height // 2, width, LONG), flat_tile(13, height, width, LONG))
    rows = [
        Row("Levels", "a remark", levels),
        Row("Scales", "a remark", scales, exact=True),
        Row("Others", "a remark", others, exact=True),
    ]
    sheet = draw_sheet(rows)
    for tile in (*levels, *scales, *others):
        region(sheet, tile)
    assert sheet.width == 1600


@pytest.mark.parametrize("width", [20, 600])
def test_neither_tiles_nor_their_figures_run_into_the_next(width: int) -> None:
    tiles = (flat_tile(0, 20, width, LONG), flat_tile(1, 20, width, LONG))
    sheet = draw_sheet([Row("Scales", "a remark", tiles, exact=True)])
    lefts = [left_edge(sheet, tile) for tile in tiles]
    needed = max(region(sheet, tiles[0])[1], ImageFont.load_default(14).getlength(LONG))
    assert lefts[1] - lefts[0] >= needed + 10


def test_headlines_and_figures_are_written(  # a sheet without text says nothing
) -> None:
    tile = flat_tile(0, 50, 50)
    silent = draw_sheet([Row("", "", (Tile(tile.pixels, "", ""),))])
    for row in (
        Row("Levels", "", (Tile(tile.pixels, "", ""),)),
        Row("", "a remark", (Tile(tile.pixels, "", ""),)),
        Row("", "", (Tile(tile.pixels, "1 level", ""),)),
        Row("", "", (Tile(tile.pixels, "", "31.41 dB"),)),
    ):
        sheet = draw_sheet([row])
        assert sheet.size == silent.size
        differing = (np.asarray(sheet) != np.asarray(silent)).any(axis=2)
        assert 20 < differing.sum() < 2000
