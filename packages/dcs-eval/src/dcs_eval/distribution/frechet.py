"""The Fréchet distance of two sets of features, each taken for a Gaussian (Heusel et al. 2017).

It is called FID only on the features of one certain Inception network: name the space instead.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dcs_eval.distribution.feature_rows import check_one_space, feature_rows


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FeatureStatistics:
    """Count, mean and scatter of features, in float64; those of parts merge into the whole's.

    Attributes:
        count: of pictures.
        mean: (D).
        scatter: (D, D), the sum of the outer products of deviations from the mean.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Return the statistics of features (N, D) of at least one picture.

        Raises:
            ValueError: if they have another shape, or are not finite.
        """
        exact = feature_rows(features)
        mean = exact.mean(0)
        centred = exact - mean
        return cls(count=len(exact), mean=mean, scatter=centred.T @ centred)

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """Return the statistics of both sets together (Chan, Golub and LeVeque 1983).

        Raises:
            ValueError: if the features differ in length.
        """
        _check_sizes(self, other)
        count = self.count + other.count
        step = other.mean - self.mean
        return FeatureStatistics(
            count=count,
            mean=self.mean + step * (other.count / count),
            scatter=self.scatter
            + other.scatter
            + torch.outer(step, step) * (self.count * other.count / count),
        )

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (D, D).

        Raises:
            ValueError: if there are fewer than 2 pictures.
        """
        if self.count < 2:
            raise ValueError(
                f"A covariance needs at least 2 pictures, but there is {self.count}. Add pictures."
            )
        return self.scatter / (self.count - 1)

    @property
    def is_singular(self) -> bool:
        """Whether there are too few pictures for a covariance of full rank: at most D.

        Distances are then still defined, but far above those of more pictures.
        """
        return self.count <= len(self.mean)


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Return the squared Fréchet distance of two sets, as FID is: at least 0, less is better.

    Few pictures bias it upwards. Compare only distances of equal counts.

    Raises:
        ValueError: if a set holds fewer than 2 pictures, or the features differ in length.
    """
    _check_sizes(first, second)
    return gaussian_frechet_distance(first.mean, first.covariance, second.mean, second.covariance)


def gaussian_frechet_distance(
    mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor
) -> float:
    """Return the squared Fréchet distance of two Gaussians (Dowson and Landau 1982).

    ``|m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((R1 C2 R1)^(1/2))`` with ``R1 = C1^(1/2)``. The last
    trace is the sum of the singular values of ``R1 R2``: symmetric roots are real whatever
    rounding does, and nothing is squared whose root is then taken, so that small eigenvalues keep
    their digits.

    Args:
        mean, other_mean: (D).
        covariance, other_covariance: (D, D), symmetric, without negative eigenvalues.
    """
    mean, other_mean = mean.double(), other_mean.double()
    roots = [_root(matrix.double()) for matrix in (covariance, other_covariance)]
    shared = torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    apart = (mean - other_mean).square().sum()
    distance = apart + covariance.double().trace() + other_covariance.double().trace() - 2 * shared
    return max(0.0, float(distance))  # equal sets may differ by rounding


def _root(matrix: Tensor) -> Tensor:
    """Return the symmetric root of a symmetric matrix (D, D)."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _check_sizes(first: FeatureStatistics, second: FeatureStatistics) -> None:
    check_one_space(len(first.mean), len(second.mean))
