"""Samples as files: pictures, animated pictures of clips, and the sheet that shows refinement.

Needs the extra ``dcs-dit[decode]``; Pillow is imported when something is written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dcs_common.atomic_file import whole_file

if TYPE_CHECKING:
    from PIL.Image import Image

_MARGIN = 4
_SIDE = 192
_HEADER = 18


def import_pillow() -> Any:
    """Return Pillow's ``Image`` module.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ValueError(
            "Writing pictures needs Pillow, which is not installed. Install `dcs-dit[decode]`, or "
            "write latents alone with `--latents`."
        ) from None
    return Image


def to_image(pixels: Tensor) -> "Image":
    """Return a picture (3, H, W) in [0, 1]."""
    rounded = (pixels.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return import_pillow().fromarray(rounded.permute(1, 2, 0).contiguous().numpy())


def write_sample(path: Path, pixels: Tensor, fps: float | None) -> Path:
    """Write a picture (3, H, W) as PNG, or a clip (3, T, H, W) as animated WebP; return its path.

    The file appears under its name when it is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if fps is None:
        path = path.with_suffix(".png")
        with whole_file(path) as temporary:
            to_image(pixels).save(temporary)
        return path
    path = path.with_suffix(".webp")
    first, *others = (to_image(frame) for frame in pixels.unbind(1))
    with whole_file(path) as temporary:
        first.save(
            temporary, save_all=True, append_images=others, duration=1000 / fps, lossless=True
        )
    return path


def contact_sheet(rows: Sequence[Sequence[Tensor]], columns: Sequence[str]) -> "Image":
    """Return a sheet with a row for each sample and a column for each level.

    Args:
        rows: of each sample, its pictures (3, H, W), or clips, whose last frame is shown.
        columns: what stands above each column.
    """
    Image = import_pillow()  # noqa: N806 - a module that is named like a class
    from PIL import ImageDraw

    shown = [[to_image(p if p.ndim == 3 else p[:, -1]) for p in row] for row in rows]
    width, height = shown[0][0].size
    factor = min(1.0, _SIDE / min(width, height))
    width, height = max(1, round(width * factor)), max(1, round(height * factor))
    sheet = Image.new(
        "RGB",
        (
            _MARGIN + len(columns) * (width + _MARGIN),
            _HEADER + len(shown) * (height + _MARGIN),
        ),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(columns):
        left = _MARGIN + column * (width + _MARGIN)
        draw.text((left, 3), title, fill="black")
        for row, pictures in enumerate(shown):
            small = pictures[column].resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(small, (left, _HEADER + row * (height + _MARGIN)))
    return sheet
