"""How many pictures of each class were recognised."""

from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassShares:
    """How many pictures of each class a probe took for what they are.

    Attributes:
        counts: right answers and pictures by class; only classes with pictures.
    """

    counts: dict[str, tuple[int, int]]

    @property
    def per_class(self) -> dict[str, float]:
        """The share of right answers by class."""
        return {name: right / total for name, (right, total) in self.counts.items()}

    @property
    def mean(self) -> float:
        """The mean share over classes, in which each counts alike however many pictures it has."""
        return fmean(self.per_class.values())

    def reaching(self, share: float = 0.5) -> int:
        """Return how many classes reach a share."""
        return sum(found >= share for found in self.per_class.values())

    def __add__(self, other: "ClassShares") -> "ClassShares":
        """Return the counts of both together."""
        names = dict.fromkeys([*self.counts, *other.counts])
        pairs = {n: (self.counts.get(n, (0, 0)), other.counts.get(n, (0, 0))) for n in names}
        return ClassShares(counts={n: (a[0] + b[0], a[1] + b[1]) for n, (a, b) in pairs.items()})
