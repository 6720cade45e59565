"""What was measured of generated pictures, as a value, a JSON file and Markdown tables."""

import json
from dataclasses import dataclass
from functools import reduce
from operator import add
from os import PathLike
from typing import Any

from dcs_common.atomic_file import write_atomically
from dcs_eval.class_shares import ClassShares
from dcs_eval.generation_rows import MEASURES, Generation, Measure, RealPictures
from dcs_eval.markdown import counted, table
from dcs_eval.mean_interval import MeanInterval, mean_interval
from dcs_eval.nearest import NEAR_SHARE
from dcs_eval.tokenizer_floor import FLOOR_NOTE, TokenizerFloor

#: The version of the JSON file.
GENERATION_FORMAT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationReport:
    """Every measurement of one evaluation.

    Attributes:
        space, features: the feature space's name, and how many features it has.
        samples: at each level of each seed.
        reference, train: number of real pictures.
        rows: seed by seed, level by level.
        real: None without training pictures.
        floors: real pictures through tokenizers, where these were given.
    """

    space: str
    features: int
    samples: int
    reference: int
    train: int | None
    rows: tuple[Generation, ...]
    real: RealPictures | None
    floors: tuple[TokenizerFloor, ...] = ()

    @property
    def levels(self) -> tuple[int, ...]:
        """The level counts, in order."""
        return tuple(dict.fromkeys(row.level for row in self.rows))

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len({row.seed for row in self.rows})

    def at(self, level: int) -> tuple[Generation, ...]:
        """Return a level's measurements, one for each seed.

        Raises:
            ValueError: if this level was not evaluated.
        """
        found = tuple(row for row in self.rows if row.level == level)
        if not found:
            raise ValueError(
                f"`level` must be one of {', '.join(map(str, self.levels))}, which were "
                f"evaluated, but is {level}. Sample it too."
            )
        return found

    def frechet(self, level: int) -> MeanInterval:
        """Return the mean over seeds of the squared Fréchet distance, with its 95 % t interval."""
        return mean_interval(row.frechet for row in self.at(level))

    def probe_share(self, level: int) -> MeanInterval | None:
        """Return the mean over seeds of the probe's mean share over classes; None without one."""
        shares = [row.probe.mean for row in self.at(level) if row.probe is not None]
        return mean_interval(shares) if shares else None

    def classes(self, level: int) -> ClassShares | None:
        """Return what the probe recognises of all seeds together; None without one."""
        found = [row.probe for row in self.at(level) if row.probe is not None]
        return reduce(add, found) if found else None

    def near(self, level: int, *, by: Measure = "features") -> MeanInterval | None:
        """Return the mean over seeds of the share of samples near a training picture.

        About 5 % where nothing was memorised, as :meth:`dcs_eval.nearest.Nearest.near` says; None
        without training pictures.

        Args:
            level: how many levels were decoded.
            by: which measure of nearness.
        """
        if self.real is None:
            return None
        held_out = getattr(self.real.nearest, by)
        found = [row.nearest for row in self.at(level) if row.nearest is not None]
        return mean_interval(getattr(some, by).near(held_out) for some in found)

    def summary(self) -> str:
        """Return what was compared with what, and what to beware of, in sentences."""
        seeds = "" if self.seeds == 1 else f", {self.seeds} seeds (± 95 % t interval over them)"
        said = [
            f"{counted(self.samples, 'sample')} at each level{seeds}, against "
            f"{counted(self.reference)} of the reference"
            + ("." if self.train is None else f"; {counted(self.train)} of training.")
        ]
        said.append(
            f"Fréchet distances are squared and lie in the feature space {self.space}: they are "
            "not FID. Compare them at equal numbers of pictures only."
        )
        counts = {"samples": self.samples, "reference pictures": self.reference}
        few = [f"{count} {what}" for what, count in counts.items() if count <= self.features]
        if few:
            said.append(
                f"{' and '.join(few)} are too few for {self.features} features: their covariance "
                "is singular, and few pictures make the distance larger."
            )
        if self.floors:
            said.append(FLOOR_NOTE)
        return "\n".join(said)

    def table(self) -> str:
        """Return a Markdown table: a row for each level, and rows of real pictures below."""
        with_probe = any(row.probe is not None for row in self.rows)
        heads = ["pictures", f"Fréchet distance on {self.space}"]
        if with_probe:
            heads += ["recognised, %", "classes from 50 %"]
        if self.real is not None:
            heads += [head for by in MEASURES for head in (f"nearest by {by}", "near, %")]
        rows = [self._level_cells(level, with_probe) for level in self.levels]
        absent = ["–"] * (len(heads) - 2)
        rows += [
            [f"{some.title}, level {some.level}", f"{some.frechet:.1f}", *absent]
            for some in self.floors
        ]
        return table(heads, rows + self._real_cells(with_probe))

    def class_table(self) -> str | None:
        """Return a Markdown table of the share recognised of each class; None without a probe."""
        columns = [(f"level {level}", self.classes(level)) for level in self.levels]
        if self.real is not None:
            columns.append(("reference", self.real.probe))
        shares = {title: found.per_class for title, found in columns if found is not None}
        if not shares:
            return None
        names = sorted({name for column in shares.values() for name in column})
        return table(
            ["recognised, %", *shares],
            [[name, *(_percent(column.get(name)) for column in shares.values())] for name in names],
        )

    def markdown(self) -> str:
        """Return summary and tables."""
        parts = [self.summary().replace("\n", "\n\n"), self.table(), self.class_table()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def content(self) -> dict[str, Any]:
        """Return what the JSON file holds: all but the single samples."""
        return {
            "format": GENERATION_FORMAT,
            "space": self.space,
            "features": self.features,
            "samples": self.samples,
            "reference": self.reference,
            "train": self.train,
            "rows": [row.content(self.real) for row in self.rows],
            "real": None if self.real is None else self.real.content(),
            "floors": [some.content() for some in self.floors],
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Write all but the single samples as JSON; the file appears when it is whole.

        Raises:
            ValueError: if its folder does not exist.
        """
        text = json.dumps(self.content(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomically(path, text.encode() + b"\n")

    def _level_cells(self, level: int, with_probe: bool) -> list[str]:
        cells = [f"level {level}", self.frechet(level).text(1)]
        if with_probe:
            share, classes = self.probe_share(level), self.classes(level)
            cells += [_percents(share), _reaching(classes)]
        if self.real is not None:
            found = [row.nearest for row in self.at(level) if row.nearest is not None]
            for by in MEASURES:
                medians = mean_interval(getattr(some, by).median for some in found)
                cells += [medians.text(3), _percents(self.near(level, by=by))]
        return cells

    def _real_cells(self, with_probe: bool) -> list[list[str]]:
        real = self.real
        if real is None:
            return []
        absent = ["–"] * (2 * with_probe + 4)
        rows = [
            [f"{counted(real.drawn)} of training", f"{real.frechet_drawn:.1f}", *absent],
            ["all of training", f"{real.frechet:.1f}", *absent],
        ]
        cells = ["reference", "–"]
        if with_probe:
            share = None if real.probe is None else real.probe.mean
            cells += [_percent(share), _reaching(real.probe)]
        for by in MEASURES:
            cells += [f"{getattr(real.nearest, by).median:.3f}", f"{100 * NEAR_SHARE:.1f}"]
        return [*rows, cells]


def _percents(found: MeanInterval | None) -> str:
    if found is None:
        return "–"
    half = found.half_width
    scaled = MeanInterval(mean=100 * found.mean, half_width=None if half is None else 100 * half)
    return scaled.text(1)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _reaching(found: ClassShares | None) -> str:
    return "–" if found is None else f"{found.reaching()} of {len(found.counts)}"
