"""Figures with their spread, as tables and verdicts show them, and what seeds say of an effect."""

from collections.abc import Sequence
from statistics import mean, stdev

from dcs_eval.mean_interval import mean_interval
from records import Verdict


def over_samples(values: Sequence[float], decimals: int = 2) -> str:
    """Return a mean over pictures or clips with half its 95 % t interval."""
    return mean_interval(values).text(decimals)


def over_seeds(values: Sequence[float], decimals: int = 2) -> str:
    """Return a mean over seeds and, where there are several, their deviation."""
    if len(values) == 1:
        return f"{values[0]:.{decimals}f}"
    return f"{mean(values):.{decimals}f} ± {stdev(values):.{decimals}f}"


def verdict(values: Sequence[float], above: float) -> Verdict:
    """Say whether an effect is there: for every seed, and larger than its spread over seeds.

    One that has the right sign on average alone is not told from chance by so few seeds.
    """
    effect = mean(values) - above
    if min(values) > above and (len(values) == 1 or effect > stdev(values)):
        return "reproduced in sign"
    return "not testable here" if effect > 0 else "not reproduced"
