"""Features of zero mean and unit deviation, so that none counts for more by its unit."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Standardisation:
    """Mean and deviation (D) of each feature over training pictures, in float64."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Return that of features (N, D); a feature that never changes is left at 0."""
        exact = features.detach().cpu().double()
        deviation = exact.std(0, correction=0)
        return cls(
            mean=exact.mean(0),
            deviation=torch.where(deviation > 0, deviation, torch.ones_like(deviation)),
        )

    def __call__(self, features: Tensor) -> Tensor:
        """Return features (N, D) standardised, in float64 on the CPU."""
        return (features.detach().cpu().double() - self.mean) / self.deviation
