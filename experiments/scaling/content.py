"""Content against scale: which of the two decides quality (Sec. 4.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import atanh, sqrt, tanh
from statistics import fmean, variance

import torch

from dcs_eval.mean_interval import MeanInterval
from scaling.curves import Curve, by_scale, common_scales


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """Parts of the variance of PSNR at one level count, over samples x scales; they sum to 1.

    Attributes:
        content: between samples.
        scale: between scales.
        rest: what depends on both.
    """

    content: float
    scale: float
    rest: float


def variance_shares(curves: Sequence[Curve], levels: int) -> Shares:
    """Return what content and scale explain, over the scales that all samples have."""
    scales, found = common_scales(curves), by_scale(curves)
    names = sorted({one.sample for one in curves})
    values = torch.tensor(
        [[found[scale][name].psnr[levels - 1] for scale in scales] for name in names],
        dtype=torch.float64,
    )
    centred = values - values.mean()
    total = float(centred.square().sum())
    content = len(scales) * float(centred.mean(dim=1).square().sum()) / total
    scale = len(names) * float(centred.mean(dim=0).square().sum()) / total
    return Shares(content=content, scale=scale, rest=1 - content - scale)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation of values without ties."""
    ranks = [torch.tensor(values).argsort().argsort().double() for values in (first, second)]
    a, b = (rank - rank.mean() for rank in ranks)
    return float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())


def simplest_and_most_complex(complexity: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the third of the samples with the least detail and that with the most, ascending."""
    ordered = sorted(complexity, key=lambda name: complexity[name])
    third = max(1, len(ordered) // 3)
    return ordered[:third], ordered[-third:]


def rank_interval(correlation: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a rank correlation of ``count`` pairs (Fisher's z).

    The variance of z is 1.06 / (n - 3), as Fieller and others give it for ranks.
    """
    if count < 4:
        return -1.0, 1.0
    z, half = atanh(max(-0.999, min(0.999, correlation))), 1.96 * sqrt(1.06 / (count - 3))
    return tanh(z - half), tanh(z + half)


@dataclass(frozen=True, kw_only=True, slots=True)
class Advantage:
    """What large simple samples have over small complex ones.

    Attributes:
        difference: of mean PSNR in dB, with Welch's 95 % interval.
        better, pairs: of all pairs of one and another, those in which the simple one is better.
    """

    difference: MeanInterval
    better: int
    pairs: int


def large_simple_over_small_complex(
    curves: Sequence[Curve], complexity: Mapping[str, float], levels: int, large: int, small: int
) -> Advantage:
    """Compare the simplest third at a large scale with the most complex third at a small one.

    Args:
        curves, complexity: of all samples.
        levels: of both.
        large, small: their scales.
    """
    simple, complex_ones = simplest_and_most_complex(complexity)
    found = by_scale(curves)
    first = [found[large][name].psnr[levels - 1] for name in simple]
    second = [found[small][name].psnr[levels - 1] for name in complex_ones]
    return Advantage(
        difference=difference_of_means(first, second),
        better=sum(a > b for a in first for b in second),
        pairs=len(first) * len(second),
    )


def difference_of_means(first: Sequence[float], second: Sequence[float]) -> MeanInterval:
    """Return the difference of two groups' means with Welch's 95 % interval."""
    mean = fmean(first) - fmean(second)
    if min(len(first), len(second)) < 2:
        return MeanInterval(mean=mean, half_width=None)
    parts = [variance(values) / len(values) for values in (first, second)]
    total = sum(parts)
    if total == 0:
        return MeanInterval(mean=mean, half_width=0.0)
    sizes = (len(first), len(second))
    freedom = total**2 / sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True))
    # Late, as it takes long to import.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return MeanInterval(mean=mean, half_width=float(stdtrit(freedom, 0.975)) * sqrt(total))
