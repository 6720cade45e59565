"""Show levels and scale on one photo.

The photo is encoded at two sizes and rebuilt from 1 to n levels, at three sizes and in another
aspect ratio. One picture shows every result with its PSNR, a Markdown table beside it the numbers.
"""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dcs_common.atomic_file import write_atomically
from dcs_common.geometry import patch_counts
from dcs_common.psnr import psnr
from dcs_common.resample import resize
from dcs_tok.pictures import read_picture, to_image, write_picture
from dcs_tok.progress import show_progress
from dcs_tok.tokenizer import DCSTok

PHOTO = Path(__file__).parent / "demo_photo.webp"
_MARGIN, _GAP, _LABEL = 28, 14, 42
_INK, _SOFT, _PAPER = (24, 26, 31), (104, 110, 120), (250, 249, 246)
_WIDTH = 1600


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture (3, H, W), two lines under it, and whether to show it pixel for pixel."""

    pixels: Tensor
    title: str
    figure: str


@dataclass(frozen=True, slots=True)
class Row:
    """Tiles side by side under a headline.

    Attributes:
        exact: tiles keep their relative sizes instead of sharing one height.
    """

    headline: str
    remark: str
    tiles: tuple[Tile, ...]
    exact: bool = False


def busiest_window(photo: Tensor) -> tuple[slice, slice]:
    """Return the rows and columns of the window, 0.4 of each side, with the most detail."""
    height, width = photo.shape[2:]
    grey = photo.mean(dim=1, keepdim=True)
    detail = torch.zeros_like(grey)
    detail[..., 1:, :] += grey.diff(dim=-2).square()
    detail[..., 1:] += grey.diff(dim=-1).square()
    window = max(1, round(0.4 * height)), max(1, round(0.4 * width))
    mean = torch.nn.functional.avg_pool2d(detail, window, stride=1)
    top, left = divmod(int(mean.argmax()), mean.shape[-1])
    return slice(top, top + window[0]), slice(left, left + window[1])


def half_size(size: tuple[int, int], patches: int) -> tuple[int, int]:
    """Return about half of (height, width) with the same grid of patches.

    Rounding both sides of an odd size down may gain or lose a row or column of patches; the long
    side then gives way.
    """
    grid = patch_counts(size, patches)
    half = max(grid[0], size[0] // 2), max(grid[1], size[1] // 2)
    long = half.index(max(half))
    short = half[1 - long]
    lengths = sorted(range(short, 2 * half[long] + 1), key=lambda x: abs(x - half[long]))
    candidates = ((short, x) if long else (x, short) for x in lengths)
    return next(c for c in candidates if patch_counts(c, patches) == grid)


def _decibel(value: float) -> str:
    return f"{value:.2f} dB"


def build_rows(tok: DCSTok, photo: Tensor) -> tuple[list[Row], list[tuple[str, str, float]]]:
    """Encode and rebuild a photo (1, 3, H, W); return rows of tiles and (task, size, dB)."""
    height, width = photo.shape[2:]
    n = tok.config.num_levels
    latents = tok.encode(photo)
    down, across = latents.grid[1:]
    numbers: list[tuple[str, str, float]] = []

    def record(task: str, pixels: Tensor, target: Tensor) -> float:
        value = psnr(pixels, target)
        numbers.append((task, f"{pixels.shape[3]}x{pixels.shape[2]}", value))
        return value

    rows, cols = busiest_window(photo)
    by_level = [Tile(photo[0, :, rows, cols], "source", f"part of {width}x{height} pixels")]
    for step in tok.decode_progressive(latents):
        value = record(f"{step.level} of {n} levels", step.pixels, photo)
        share = down * across * step.level * tok.config.latent_channels / photo[0].numel()
        title = f"{step.level} level{'s' if step.level > 1 else ''}"
        by_level.append(
            Tile(step.pixels[0, :, rows, cols], title, f"{_decibel(value)}, {share:.1%} of values")
        )

    whole = tok.decode(latents)
    by_scale = []
    for factor in (0.5, 1.0, 2.0):
        size = max(down, round(height * factor)), max(across, round(width * factor))
        pixels = whole if factor == 1 else tok.decode(latents, size)
        smaller = min(size, (height, width))
        agree = psnr(resize(pixels, smaller).clamp(0, 1), resize(whole, smaller).clamp(0, 1))
        value = record(f"decoded at {factor:g}x", pixels, resize(photo, size).clamp(0, 1))
        figure = _decibel(value)
        if factor != 1:
            task = f"decoded at {factor:g}x, against 1x at the smaller size"
            numbers.append((task, f"{smaller[1]}x{smaller[0]}", agree))
            figure += f"; {_decibel(agree)} to 1x"
        by_scale.append(Tile(pixels[0], f"{factor:g}x: {size[1]}x{size[0]}", figure))

    wide = max(height // 2, down), width
    stretched = tok.decode(latents, wide)
    value = record("decoded at another aspect ratio", stretched, resize(photo, wide).clamp(0, 1))
    by_source = [Tile(stretched[0], f"half as high: {wide[1]}x{wide[0]}", _decibel(value))]
    half = half_size((height, width), latents.patches)
    small = tok.encode(resize(photo, half).clamp(0, 1), patches=latents.patches)
    from_small = tok.decode(small, (height, width))
    value = record("encoded at half the size, decoded at 1x", from_small, photo)
    agree = psnr(from_small, whole)
    numbers.append(("encoded at half the size, against encoded at 1x", f"{width}x{height}", agree))
    by_source.append(
        Tile(
            from_small[0],
            f"encoded at {half[1]}x{half[0]}, decoded at {width}x{height}",
            f"{_decibel(value)}; {_decibel(agree)} to encoded at {width}x{height}",
        )
    )
    remark = (
        f"{across} x {down} patches at any size; a part of the photo, PSNR and share of the whole"
    )
    return [
        Row("One latent, more levels: structure first, then detail", remark, tuple(by_level)),
        Row(
            "One latent, any size",
            f"all {n} levels, decoded at three sizes",
            tuple(by_scale),
            exact=True,
        ),
        Row(
            "Any aspect ratio, and encoded at any size",
            "the latent has one shape for every scale",
            tuple(by_source),
            exact=True,
        ),
    ], numbers


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_row(row: Row, columns: int) -> Image.Image:
    """Draw a headline and tiles, ``columns`` to a line, over the sheet's width."""
    inner = _WIDTH - 2 * _MARGIN
    lines = [row.tiles[i : i + columns] for i in range(0, len(row.tiles), columns)]
    images = [to_image(tile.pixels) for tile in row.tiles]
    if row.exact:
        total = sum(image.width for image in images) + _GAP * (len(images) - 1)
        scales = [min(1.5, (inner - _GAP * (len(images) - 1)) / (total or 1))] * len(images)
    else:
        cell = (inner - _GAP * (columns - 1)) / columns
        scales = [cell / image.width for image in images]
    shown = [
        image.resize(
            (max(1, round(image.width * s)), max(1, round(image.height * s))),
            Image.Resampling.LANCZOS,
        )
        for image, s in zip(images, scales, strict=True)
    ]
    heights = [
        max(image.height for image in shown[i * columns : i * columns + len(line)])
        for i, line in enumerate(lines)
    ]
    sheet = Image.new("RGB", (_WIDTH, 64 + sum(heights) + (_LABEL + _GAP) * len(lines)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 8), row.headline, _INK, _font(26))
    offset = draw.textlength(row.headline, _font(26))
    draw.text((_MARGIN + offset + 18, 17), row.remark, _SOFT, _font(16))
    y = 52
    for i, line in enumerate(lines):
        x = _MARGIN
        for j, tile in enumerate(line):
            image = shown[i * columns + j]
            sheet.paste(image, (x, y))
            below = y + image.height + 4
            draw.text((x, below), tile.title, _INK, _font(16))
            draw.text((x, below + 19), tile.figure, _SOFT, _font(14))
            x += max(image.width, round(draw.textlength(tile.figure, _font(14)))) + _GAP
        y += heights[i] + _LABEL + _GAP
    return sheet


def draw_sheet(rows: list[Row]) -> Image.Image:
    """Stack the rows on one sheet."""
    columns = max(3, -(-len(rows[0].tiles) // 2)) if len(rows[0].tiles) > 6 else 3
    parts = [_draw_row(row, len(row.tiles) if row.exact else columns) for row in rows]
    sheet = Image.new("RGB", (_WIDTH, sum(part.height for part in parts) + _MARGIN), _PAPER)
    y = _MARGIN // 2
    for part in parts:
        sheet.paste(part, (0, y))
        y += part.height
    return sheet


def run(photo: str | PathLike[str] | None, folder: Path, tok: DCSTok) -> str:
    """Write ``demo.png`` and ``demo.md`` into a folder; return a line that says so.

    Raises:
        ValueError: if the photo cannot be read or is too small for the model's grid.
    """
    pixels = read_picture(PHOTO if photo is None else photo).pixels
    short = min(pixels.shape[2:])
    needed = 2 * tok.config.patches_of((pixels.shape[2], pixels.shape[3]))
    if short < needed:
        raise ValueError(
            f"The photo's shorter side must have at least {needed} pixels, but has {short}. "
            "Use a larger photo."
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`--output` must be a folder, but {folder} is a file. Name another.")
    with show_progress(tok, "demo"):
        rows, numbers = build_rows(tok, pixels.to(next(tok.parameters()).device))
    folder.mkdir(parents=True, exist_ok=True)
    sheet = torch.from_numpy(np.array(draw_sheet(rows)))
    write_picture(folder / "demo.png", sheet.permute(2, 0, 1).float() / 255)
    table = ["| what | size | PSNR |", "|---|---|---|"]
    table += [f"| {task} | {size} | {_decibel(value)} |" for task, size, value in numbers]
    name = PHOTO.name if photo is None else Path(photo).name
    text = f"# {name} through {tok.fingerprint}\n\n" + "\n".join(table) + "\n"
    write_atomically(folder / "demo.md", text.encode())
    return f"wrote {folder / 'demo.png'} and {folder / 'demo.md'}"
