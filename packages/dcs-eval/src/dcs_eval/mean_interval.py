"""A mean over pictures or seeds and how far it can be trusted."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean, stdev


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanInterval:
    """A mean and half the width of its 95 % confidence interval.

    Attributes:
        mean: over the pictures or seeds.
        half_width: None for a single one, and where a value is infinite.
    """

    mean: float
    half_width: float | None

    def text(self, decimals: int) -> str:
        """Return ``mean ± half_width``, as a table shows it."""
        if self.half_width is None:
            return f"{self.mean:.{decimals}f}"
        return f"{self.mean:.{decimals}f} ± {self.half_width:.{decimals}f}"


def mean_interval(values: Iterable[float]) -> MeanInterval:
    """Return the mean of values and its two-sided 95 % t interval.

    The half width is ``t(0.975, n - 1) s / sqrt(n)``, s the sample standard deviation. It tells
    what other pictures or seeds of the same kind would give, and so it is wide where they differ.
    Two codecs measured on the same pictures differ more surely than their intervals suggest.
    """
    values = list(values)
    mean, count = fmean(values), len(values)
    if count < 2 or not all(map(isfinite, values)):
        return MeanInterval(mean=mean, half_width=None)
    # Late, as it takes longer to import than all the rest.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    quantile = float(stdtrit(count - 1, 0.975))
    return MeanInterval(mean=mean, half_width=quantile * stdev(values) / sqrt(count))
