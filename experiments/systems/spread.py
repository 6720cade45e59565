"""Figures with their spread, as tables and verdicts show them."""

from collections.abc import Sequence
from statistics import mean, stdev

from dcs_eval.mean_interval import mean_interval


def over_samples(values: Sequence[float], decimals: int = 2) -> str:
    """Return a mean over pictures or clips with half its 95 % t interval."""
    return mean_interval(values).text(decimals)


def over_seeds(values: Sequence[float], decimals: int = 2) -> str:
    """Return a mean over seeds and, where there are several, their deviation."""
    if len(values) == 1:
        return f"{values[0]:.{decimals}f}"
    return f"{mean(values):.{decimals}f} ± {stdev(values):.{decimals}f}"
