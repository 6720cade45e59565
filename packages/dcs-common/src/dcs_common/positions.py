"""Coordinates (segment, row, column, level) of pixel and latent tokens (Sec. 6.2, Fig. 14).

Inside a patch, pixels lie at corner-aligned coordinates in [0, 1] (a one-pixel axis at 0.5), at
their tail-aligned frame time, and have no level; latent tokens have their level only. Across
patches, patch i lies at ``(i + 0.5) / k`` on both axes, so that the shorter side spans 1; time
is the segment index. Levels are numbered from 1 and never divided by their number, so that a
model with 4 levels can grow to 8.
"""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from dcs_common.resample import Alignment, sample_positions


def pixel_coordinates(
    times: Sequence[Fraction], height: int, width: int, alignment: Alignment = "corner"
) -> Tensor:
    """Return (f * height * width, 4) coordinates of a patch's pixels, float64."""
    frame = torch.tensor([float(time) for time in times], dtype=torch.float64)
    axes = (frame, sample_positions(height, alignment), sample_positions(width, alignment))
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2)
    return torch.cat([grid, torch.zeros(len(grid), 1, dtype=torch.float64)], dim=1)


def level_coordinates(num_levels: int) -> Tensor:
    """Return (n, 4) coordinates of the latent tokens of one patch, float64."""
    coordinates = torch.zeros(num_levels, 4, dtype=torch.float64)
    coordinates[:, 3] = torch.arange(1, num_levels + 1)
    return coordinates


def latent_coordinates(shape: tuple[int, int, int], num_levels: int) -> Tensor:
    """Return (n, t * h * w, 4) coordinates of a latent grid's tokens, float64.

    They depend on the grid alone, which is all a generator knows.
    """
    segments, rows, columns = shape
    patches = min(rows, columns)
    axes = (
        torch.arange(1, num_levels + 1, dtype=torch.float64),
        torch.arange(segments, dtype=torch.float64),
        (torch.arange(rows, dtype=torch.float64) + 0.5) / patches,
        (torch.arange(columns, dtype=torch.float64) + 0.5) / patches,
    )
    level, segment, row, column = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([segment, row, column, level], dim=-1).flatten(1, 3)
