"""Two scales of one region of a picture (asymmetric training, Sec. 6.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_common.resample import resize
from dcs_tok.data.geometry import BatchGeometry, ScaleConfig


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a picture's pixels, mirrored left to right or not."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False

    def cut(self, pixels: Tensor) -> Tensor:
        """Cut the region out of pixels (..., H, W)."""
        rows = slice(self.top, self.top + self.height)
        columns = slice(self.left, self.left + self.width)
        region = pixels[..., rows, columns]
        return region.flip(-1) if self.mirrored else region


def draw_region(
    size: tuple[int, int],
    geometry: BatchGeometry,
    config: ScaleConfig,
    generator: torch.Generator,
) -> Region:
    """Draw the region of a picture of ``size`` (height, width) that both scales show.

    Every place is equally likely. See :class:`~dcs_tok.data.geometry.ScaleConfig` for what
    ``crop`` and ``flip`` mean.
    """
    height, width = size
    rows, columns = geometry.larger_size
    if config.crop == "largest" or height < rows or width < columns:
        if height * columns <= width * rows:
            rows, columns = height, _scaled(columns, height, rows)
        else:
            rows, columns = _scaled(rows, width, columns), width
    top = int(torch.randint(height - rows + 1, (), generator=generator))
    left = int(torch.randint(width - columns + 1, (), generator=generator))
    mirrored = bool(torch.randint(2, (), generator=generator)) and config.flip
    return Region(top, left, rows, columns, mirrored)


def _scaled(extent: int, numerator: int, denominator: int) -> int:
    """Return ``extent * numerator / denominator``, rounded half up and at least 1."""
    return max(1, (2 * extent * numerator + denominator) // (2 * denominator))


def at_scale(region: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring 8-bit pixels (..., H, W) to ``size``, corner-aligned; float32 in [0, 1]."""
    values = region.contiguous().float().div_(255)
    return resize(values, size).clamp_(0, 1)


def picture_pair(
    picture: Tensor,
    geometry: BatchGeometry,
    config: ScaleConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return input and target of a picture (3, H, W) of bytes.

    Returns:
        (3, *geometry.size) and (3, *geometry.target_size), float32 in [0, 1]; one tensor where
        the scales are equal.
    """
    size = (picture.shape[-2], picture.shape[-1])
    region = draw_region(size, geometry, config, generator).cut(picture)
    pixels = at_scale(region, geometry.size)
    if geometry.is_symmetric:
        return pixels, pixels
    return pixels, at_scale(region, geometry.target_size)
