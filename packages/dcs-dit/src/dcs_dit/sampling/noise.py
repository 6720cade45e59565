"""Noise that belongs to a sample and a level, whatever else is sampled with them.

Every (sample, level) has a stream of its own, so that a sample depends neither on its batch nor on
the number of levels that are asked for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dcs_common.training.seeds import seeded_generator


def sample_seeds(seed: int, count: int, first: int = 0) -> tuple[int, ...]:
    """Return the seeds of samples ``first`` to ``first + count`` of a series."""
    return tuple(
        seeded_generator(seed, "sample", i).initial_seed() for i in range(first, first + count)
    )


def level_noise(
    seeds: Sequence[int], grid: tuple[int, int, int], level: int, channels: int
) -> Tensor:
    """Return standard normal noise (b, t * h * w, c) of one level (from 1), float32."""
    t, h, w = grid
    return torch.stack(
        [
            torch.randn(t * h * w, channels, generator=seeded_generator(seed, "noise", level))
            for seed in seeds
        ]
    )
