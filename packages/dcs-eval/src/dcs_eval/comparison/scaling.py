"""What a tokenizer's quality does as pictures grow: the couplings of Fig. 1, 6 and 7."""

from collections.abc import Mapping
from math import isfinite, log2
from statistics import fmean

from dcs_eval.mean_interval import MeanInterval, mean_interval


def change_per_doubling(values: Mapping[int, Mapping[str, float]]) -> MeanInterval | None:
    """Return by how much a value changes for each doubling of scale, with its 95 % t interval.

    The slope of the least-squares line over log2 of the short side, of every picture by itself;
    mean and interval are over pictures. Pictures differ more than scales do, and a difference
    within pictures is the surer for it.

    Args:
        values: of each picture by its name, by short side.

    Returns:
        None for a single side, and where a value is infinite.
    """
    sides = sorted(values)
    if len(sides) < 2:
        return None
    centre = fmean(map(log2, sides))
    offsets = {side: log2(side) - centre for side in sides}
    spread = sum(offset**2 for offset in offsets.values())
    slopes = [
        sum(offset * values[side][name] for side, offset in offsets.items()) / spread
        for name in values[sides[0]]
    ]
    return mean_interval(slopes) if all(map(isfinite, slopes)) else None
