"""What is measured of one set of generated pictures, and of real ones beside it."""

from dataclasses import dataclass
from typing import Any, Literal

from dcs_eval.class_shares import ClassShares
from dcs_eval.nearest import NearestTraining

Measure = Literal["features", "pixels"]
MEASURES: tuple[Measure, ...] = ("features", "pixels")


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """The samples of one seed at one level.

    Attributes:
        seed: its place among the seeds, from 0.
        level: how many levels were decoded.
        frechet: squared Fréchet distance to the reference pictures.
        probe: which classes a probe recognises; None without classes or training pictures.
        nearest: the nearest training pictures; None without training pictures.
    """

    seed: int
    level: int
    frechet: float
    probe: ClassShares | None
    nearest: NearestTraining | None

    def content(self, real: "RealPictures | None") -> dict[str, Any]:
        """Return what the JSON file holds: all but single samples.

        Args:
            real: the yardstick of nearness.
        """
        return {
            "seed": self.seed,
            "level": self.level,
            "frechet": self.frechet,
            "probe": _counts(self.probe),
            "nearest": self.nearest and real and _nearness(self.nearest, real.nearest),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class RealPictures:
    """What real pictures reach.

    Attributes:
        frechet: from all training pictures to the reference pictures.
        drawn: number of training pictures drawn, that of the samples or all there are.
        frechet_drawn: from these to the reference pictures: the floor under the samples'.
        probe: of the reference pictures; None without classes.
        nearest: training pictures to the reference pictures: the yardstick of memorisation.
    """

    frechet: float
    drawn: int
    frechet_drawn: float
    probe: ClassShares | None
    nearest: NearestTraining

    def content(self) -> dict[str, Any]:
        """Return what the JSON file holds: all but single pictures."""
        return {
            "frechet": self.frechet,
            "drawn": self.drawn,
            "frechet_drawn": self.frechet_drawn,
            "probe": _counts(self.probe),
            "nearest": _nearness(self.nearest, self.nearest),
        }


def _nearness(found: NearestTraining, held_out: NearestTraining) -> dict[str, dict[str, float]]:
    found_by = {by: (getattr(found, by), getattr(held_out, by)) for by in MEASURES}
    return {
        by: {"median": some.median, "near": some.near(yardstick)}
        for by, (some, yardstick) in found_by.items()
    }


def _counts(found: ClassShares | None) -> dict[str, dict[str, int]] | None:
    if found is None:
        return None
    return {name: {"right": right, "of": total} for name, (right, total) in found.counts.items()}
