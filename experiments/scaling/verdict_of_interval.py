"""A verdict from a mean and its 95 % interval."""

from dcs_eval.mean_interval import MeanInterval
from records import Verdict


def verdict_above(interval: MeanInterval | None, bound: float = 0.0) -> Verdict:
    """Return whether a mean is above a bound; an interval that holds the bound tells nothing."""
    if interval is None or interval.half_width is None:
        return "not testable here"
    if interval.mean - interval.half_width > bound:
        return "reproduced in sign"
    return "not reproduced" if interval.mean + interval.half_width < bound else "not testable here"


def verdict_below(interval: MeanInterval | None, bound: float = 0.0) -> Verdict:
    """Return whether a mean is below a bound."""
    if interval is None:
        return "not testable here"
    return verdict_above(MeanInterval(mean=-interval.mean, half_width=interval.half_width), -bound)


def signed(interval: MeanInterval, decimals: int = 2) -> str:
    """Return ``+1.25 ± 0.35``."""
    return ("+" if interval.mean > 0 else "") + interval.text(decimals)
