"""Count, mean and squared deviations of latents, that merge without loss over parts of a set."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_PIECE = 64
"""Samples that are taken to float64 at a time."""


@dataclass(frozen=True, slots=True)
class LatentStatistics:
    """What a generator normalises latents with.

    Attributes:
        mean, std: (n, c) float64, over the set's samples and patches.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, slots=True)
class LatentMoments:
    """Moments per level and channel.

    Attributes:
        count: tokens of each level.
        mean: (n, c) float64.
        m2: (n, c) float64, sum of squared deviations from the mean.
    """

    count: int
    mean: Tensor
    m2: Tensor

    @classmethod
    def none(cls, num_levels: int, channels: int) -> "LatentMoments":
        """Return the moments of no tokens."""
        zeros = torch.zeros(num_levels, channels, dtype=torch.float64)
        return cls(0, zeros, zeros)

    @classmethod
    def of(cls, tokens: Tensor) -> "LatentMoments":
        """Measure tokens (b, t, h, w, n, c)."""
        moments = cls.none(*tokens.shape[4:])
        for piece in tokens.split(_PIECE):
            if len(piece):
                values = piece.double().flatten(0, 3)
                mean = values.mean(dim=0)
                moments = moments.merged(cls(len(values), mean, (values - mean).square().sum(0)))
        return moments

    def merged(self, other: "LatentMoments") -> "LatentMoments":
        """Return the moments of both parts together (Chan et al., the parallel algorithm)."""
        count = self.count + other.count
        if count == 0:
            return self
        delta = other.mean - self.mean
        share = other.count / count
        m2 = self.m2 + other.m2 + delta.square() * (self.count * share)
        return LatentMoments(count, self.mean + delta * share, m2)

    @property
    def statistics(self) -> LatentStatistics:
        """Mean and standard deviation (of the population)."""
        return LatentStatistics(self.mean, (self.m2 / max(self.count, 1)).sqrt())

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads; JSON keeps float64 exactly."""
        return {"count": self.count, "mean": self.mean.tolist(), "m2": self.m2.tolist()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "LatentMoments":
        """Read what :meth:`to_json` gave."""
        mean, m2 = (torch.tensor(content[key], dtype=torch.float64) for key in ("mean", "m2"))
        return cls(int(content["count"]), mean, m2)
