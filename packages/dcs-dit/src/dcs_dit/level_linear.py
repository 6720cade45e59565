"""Linear layers with weights of their own for every level, in and out of the transformer.

Channel j of level 1 and channel j of level 2 have nothing in common. The layer for all levels is
one product with the input placed in its level's part of a longer vector: n times the work of
one level's, on a layer whose work is a thousandth of the transformer's.
"""

import torch
from torch import Tensor, nn

from dcs_dit.initial import normal


def _is_of(level: Tensor, num_levels: int) -> Tensor:
    """Tell each token's level, (tokens, n); torch's ``one_hot`` would wait for a GPU to check."""
    return level.unsqueeze(-1) == torch.arange(num_levels, device=level.device)


class LevelLinearIn(nn.Module):
    """(tokens, channels) to (tokens, width), with a matrix and a bias for each level."""

    def __init__(self, num_levels: int, channels: int, width: int) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.weight = nn.Parameter(normal(width, num_levels * (channels + 1), std=channels**-0.5))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Transform tokens; ``level`` (tokens,) counts from 0."""
        x = torch.cat([x, x.new_ones(*x.shape[:-1], 1)], dim=-1)
        placed = _is_of(level, self.num_levels).unsqueeze(-1) * x.unsqueeze(-2)
        return nn.functional.linear(placed.flatten(-2), self.weight)


class LevelLinearOut(nn.Module):
    """(tokens, width) to (tokens, channels), with a matrix and a bias for each level; zero-init."""

    def __init__(self, num_levels: int, width: int, channels: int) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.linear = nn.Linear(width, num_levels * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Transform tokens; ``level`` (tokens,) counts from 0."""
        by_level = self.linear(x).unflatten(-1, (self.num_levels, -1))
        return (by_level * _is_of(level, self.num_levels).unsqueeze(-1)).sum(dim=-2)
