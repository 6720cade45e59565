"""What was measured of tokenizers side by side, as a value, JSON and Markdown tables."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from statistics import fmean
from typing import Any

from dcs_eval.comparison.scaling import change_per_doubling
from dcs_eval.levels_needed import levels_needed
from dcs_eval.markdown import counted, table
from dcs_eval.mean_interval import MeanInterval, mean_interval
from dcs_eval.metrics import METRICS
from dcs_eval.reconstruction_report import ReconstructionReport


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerAtScale:
    """One tokenizer at one scale.

    Attributes:
        tokenizer: its name in tables.
        short_side: of the pictures, in pixels.
        report: every picture at every level count.
        tokens: of each picture by its name, by level count; None where nothing says it.
        channels: numbers in a token; None where nothing says it.
    """

    tokenizer: str
    short_side: int
    report: ReconstructionReport
    tokens: dict[int, dict[str, int | None]]
    channels: int | None

    @property
    def levels(self) -> tuple[int, ...]:
        """The level counts, in order."""
        return tuple(self.tokens)

    def mean_tokens(self, levels: int) -> float | None:
        """Return the mean number of tokens of a picture; None where nothing says it."""
        found = [count for count in self.tokens[levels].values() if count is not None]
        return fmean(found) if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerComparison:
    """Every measurement, tokenizer by tokenizer and scale by scale.

    Attributes:
        scales: all of the same pictures.
        target_psnr: in dB, or None.
    """

    scales: tuple[TokenizerAtScale, ...]
    target_psnr: float | None = None

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(dict.fromkeys(some.tokenizer for some in self.scales))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The keys of the metrics that were measured."""
        return self.scales[0].report.metrics

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return len({row.picture for row in self.scales[0].report.rows})

    def at(self, tokenizer: str, short_side: int) -> TokenizerAtScale:
        """Return one tokenizer's measurements at one scale.

        Raises:
            ValueError: if that pair was not measured.
        """
        for some in self.scales:
            if (some.tokenizer, some.short_side) == (tokenizer, short_side):
                return some
        sides = sorted({some.short_side for some in self.scales})
        raise ValueError(
            f"`tokenizer` must be one of {', '.join(self.tokenizers)} and `short_side` one of "
            f"{', '.join(map(str, sides))}, which were measured, but are {tokenizer!r} and "
            f"{short_side}. Compare them too."
        )

    def change_per_doubling(
        self, tokenizer: str, levels: int, metric: str = "psnr"
    ) -> MeanInterval | None:
        """Return by how much a metric changes for each doubling of scale.

        See :func:`dcs_eval.comparison.scaling.change_per_doubling`.
        """
        return change_per_doubling(
            {
                some.short_side: some.report.per_picture(levels, metric=metric)
                for some in self.scales
                if some.tokenizer == tokenizer
            }
        )

    def table(self) -> str:
        """Return a Markdown table: a row for each tokenizer, level count and scale."""
        heads = ["tokenizer", "levels", "short side", "tokens", "channels"]
        rows = [
            [some.tokenizer, str(levels), str(some.short_side)]
            + [_whole(some.mean_tokens(levels)), _whole(some.channels)]
            + [
                some.report.interval(levels, metric=key).text(METRICS[key].decimals)
                for key in self.metrics
            ]
            for some, levels in self._rows()
        ]
        return table(heads + [METRICS[key].title for key in self.metrics], rows)

    def scaling_table(self) -> str | None:
        """Return a Markdown table of what a doubling of scale changes; None for one scale."""
        sides = sorted({some.short_side for some in self.scales})
        if len(sides) < 2:
            return None
        heads = ["tokenizer", "levels", f"tokens from {sides[0]} to {sides[-1]}"]
        heads += [f"{METRICS[key].title} per doubling" for key in self.metrics]
        rows = []
        for some, levels in self._rows():
            if some.short_side != sides[0]:
                continue
            ends = [self.at(some.tokenizer, side).mean_tokens(levels) for side in sides]
            cells = [some.tokenizer, str(levels), f"{_whole(ends[0])} to {_whole(ends[-1])}"]
            for key in self.metrics:
                change = self.change_per_doubling(some.tokenizer, levels, key)
                cells.append("–" if change is None else _signed(change, METRICS[key].decimals))
            rows.append(cells)
        return table(heads, rows)

    def target_table(self) -> str | None:
        """Return a Markdown table of what the target PSNR takes; None without one."""
        if self.target_psnr is None:
            return None
        heads = ["tokenizer", "short side", "levels", "median", "tokens", "pictures that reach it"]
        rows = []
        for some in self.scales:
            needed = levels_needed(some.report, self.target_psnr)
            levels = [count for count in needed.per_picture.values() if count is not None]
            taken = [
                some.tokens[count][name]
                for name, count in needed.per_picture.items()
                if count is not None
            ]
            tokens = [count for count in taken if count is not None]
            # Means of those that get there would fall where a harder target drops pictures.
            every = len(levels) == len(needed.per_picture)
            rows.append(
                [
                    some.tokenizer,
                    str(some.short_side),
                    mean_interval(levels).text(2) if every else "–",
                    "–" if needed.median is None else str(needed.median),
                    mean_interval(tokens).text(0) if every and tokens else "–",
                    f"{len(levels)} of {len(needed.per_picture)}",
                ]
            )
        return table(heads, rows)

    def markdown(self) -> str:
        """Return all tables, with what they mean."""
        parts = [
            f"{counted(self.pictures)}, each reduced to every short side (antialiased, never "
            "enlarged), and encoded and decoded at that size; ± is half the 95 % t interval over "
            "pictures, tokens are means of a picture.",
            self.table(),
        ]
        if (scaling := self.scaling_table()) is not None:
            parts += [
                "What a doubling of the short side changes: the slope of each picture's line over "
                "log2 of the side, and its mean over pictures.",
                scaling,
            ]
        if (target := self.target_table()) is not None:
            parts += [
                f"What it takes to reach {self.target_psnr:g} dB: the least level count that does "
                "and its tokens, as means where every picture gets there, and the median.",
                target,
            ]
        return "\n\n".join(parts) + "\n"

    def content(self) -> dict[str, Any]:
        """Return what the JSON file holds: every single measurement, and the changes."""
        return {
            "pictures": self.pictures,
            "target_psnr": self.target_psnr,
            "scales": [
                {
                    "tokenizer": some.tokenizer,
                    "short_side": some.short_side,
                    "channels": some.channels,
                    "rows": [
                        {
                            "picture": row.picture,
                            "levels": row.levels,
                            "tokens": some.tokens[row.levels][row.picture],
                            **{key: _finite(getattr(row, key)) for key in self.metrics},
                        }
                        for row in some.report.rows
                    ],
                }
                for some in self.scales
            ],
            "per_doubling": [
                {"tokenizer": name, "levels": levels, "metric": key, **asdict(change)}
                for name in self.tokenizers
                for levels in next(some for some in self.scales if some.tokenizer == name).levels
                for key in self.metrics
                if (change := self.change_per_doubling(name, levels, key)) is not None
            ],
        }

    def _rows(self) -> Iterator[tuple[TokenizerAtScale, int]]:
        """Yield tokenizers, level counts and, fastest, scales: what grows stands together."""
        for name in self.tokenizers:
            own = [some for some in self.scales if some.tokenizer == name]
            for levels in own[0].levels:
                for some in own:
                    yield some, levels


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _signed(change: MeanInterval, decimals: int) -> str:
    sign = "+" if change.mean > 0 else ""
    return sign + change.text(decimals)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None  # JSON knows no infinity
