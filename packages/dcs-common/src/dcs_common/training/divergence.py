"""Telling a run that has gone astray, before it spoils its checkpoint."""

from collections import deque
from collections.abc import Iterable
from math import isfinite
from statistics import median

_KEPT = 101
_NEEDED = 21


class TrainingDiverged(ValueError):  # noqa: N818 - it reads as what happened
    """A loss, gradient or weight is not finite, or a loss has exploded."""


class LossHistory:
    """The last losses of a run and what they say about the next.

    A loss has exploded if it exceeds their median by ``factor`` times the median's magnitude or
    times the largest deviation from it, whichever is more: a logarithm or a hinge may lie near
    zero, or below. Nothing is judged by fewer than 21 losses.

    Args:
        factor: None for no judgement but that a loss must be finite.
    """

    def __init__(self, factor: float | None) -> None:
        self.factor = factor
        self.values: deque[float] = deque(maxlen=_KEPT)

    def accepts(self, loss: float) -> bool:
        """Tell whether a loss is finite and as usual; if so, remember it."""
        good = isfinite(loss) and loss <= self._limit()
        if good:
            self.values.append(loss)
        return good

    def _limit(self) -> float:
        if self.factor is None or len(self.values) < _NEEDED:
            return float("inf")
        usual = median(self.values)
        spread = max(abs(value - usual) for value in self.values)
        return usual + self.factor * max(abs(usual), spread)

    def restore(self, values: Iterable[float]) -> None:
        """Take over the losses of a checkpoint."""
        self.values.clear()
        self.values.extend(values)
