"""What pixel tokens know of their place inside a patch."""

from math import pi

import torch
from torch import Tensor, nn

from dcs_common.rope import GroupedRope, Rotation


class FourierFeatures(nn.Module):
    """A linear map of sines and cosines of (time, row, column) at octaves of half a turn.

    Scale-independent as the rotary embedding is: coordinates span [0, 1] at any size.
    """

    def __init__(self, width: int, octaves: int) -> None:
        super().__init__()
        self.octaves = octaves
        self.project = nn.Linear(6 * octaves, width)

    def forward(self, coordinates: Tensor) -> Tensor:
        """Map float64 coordinates (tokens, 4) to features (tokens, width)."""
        frequencies = pi * 2.0 ** torch.arange(self.octaves, dtype=torch.float64)
        angles = (coordinates[:, :3, None] * frequencies).flatten(1)
        features = torch.cat([angles.sin(), angles.cos()], dim=1)
        return self.project(features.to(self.project.weight))


def patch_rotation(
    rope: GroupedRope, pixels: Tensor, latents: Tensor, like: Tensor
) -> tuple[Rotation, Rotation]:
    """Return the rotations of pixel tokens and of all P + m tokens of a patch."""
    both = rope(torch.cat([pixels, latents]), like)
    return both.slice(0, len(pixels)), both
