"""What an experiment reports: tables, claims with their verdicts, plots and pictures."""

import re
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal, Self, get_args

from torch import Tensor

from records.claims import CLAIMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A cell of a table: text, a number, or None for what was not run.
Cell = str | int | float | None
Verdict = Literal["reproduced in sign", "not reproduced", "not testable here", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_MEASURED = VERDICTS[:2]
_FILE_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table; the paper's values, where it has any, stand in rows or columns of their own.

    Attributes:
        title: says what the numbers are, with their unit.
        columns: heads; the first one heads the names of rows.
        rows: cells, as many as there are columns. Floats are shown with four digits: give text
            where another number of decimals is meant, such as "31.2 ± 0.4".
        note: what a reader must know beside it.

    Raises:
        ValueError: if a row has more or fewer cells, or a cell is nothing that a table can show.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "rows", tuple(tuple(row) for row in self.rows))
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"A row of the table {self.title!r} must have {len(self.columns)} cells, one "
                    f"for each column, but has {len(row)}: {row}. Give None for what was not run."
                )
            for cell in row:
                _check_cell(cell, self.title)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A claim put to the test.

    Attributes:
        statement: what is claimed.
        source: where the paper does: a figure, a table or a section.
        paper: the paper's figures.
        ours: the measured figures with their spread, ± over seeds or pictures.
        verdict: what follows from them.
        key: of the claim in `records/claims.py` that this answers; several may answer one.

    Raises:
        ValueError: if the verdict or key is not one there is, or a verdict has no figure.
    """

    statement: str
    source: str
    paper: str
    ours: str
    verdict: Verdict
    key: str = ""

    @classmethod
    def answering(cls, key: str, *, ours: str, verdict: Verdict) -> Self:
        """Return the answer to a listed claim, in the words of ``records/claims.py``."""
        asked = CLAIMS[key]
        return cls(
            statement=asked.statement,
            source=asked.source,
            paper=asked.evidence,
            ours=ours,
            verdict=verdict,
            key=key,
        )

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(
                f"A verdict must be one of {', '.join(VERDICTS)}, but is {self.verdict!r} for "
                f"{self.statement!r}. Choose one of these."
            )
        if self.key and self.key not in CLAIMS:
            raise ValueError(
                f"A claim's key must be one of {', '.join(CLAIMS)}, but is {self.key!r}. Add the "
                "claim to records/claims.py, or leave the key out."
            )
        if self.verdict in _MEASURED and not re.search("[0-9]", self.ours):
            raise ValueError(
                f"`ours` must hold the measured figure where the verdict is {self.verdict!r}, but "
                f"is {self.ours!r} for {self.statement!r}. Give the figure and its spread."
            )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plot:
    """A matplotlib figure, kept as `plots/NAME.svg`.

    Raises:
        ValueError: if the name is not fit for a file.
    """

    name: str
    figure: "Figure"
    caption: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Picture:
    """Samples or maps, kept as `plots/NAME.png`, or as JPEG where that would be large.

    Attributes:
        name: of the file.
        pixels: (3, H, W), (1, 3, H, W), or grey (1, H, W) or (H, W); in [0, 1], clamped.
        caption: what stands below it.

    Raises:
        ValueError: if the name is not fit for a file or the pixels have another shape.
    """

    name: str
    pixels: Tensor
    caption: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        shape = tuple(self.pixels.shape)
        if len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)) or shape[:-2] == (1, 3):
            return
        raise ValueError(
            f"The pixels of {self.name!r} must be (3, H, W), or (H, W) for grey, but are {shape}. "
            "Put several pictures into one sheet."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that an experiment found.

    Attributes:
        tables, claims, plots, pictures: in the order of pages.
        notes: sentences on what limits the findings.

    Raises:
        ValueError: if two plots or pictures have one name.
    """

    tables: tuple[Table, ...] = ()
    claims: tuple[Claim, ...] = ()
    plots: tuple[Plot, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("tables", "claims", "plots", "pictures", "notes"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        shown: list[Plot | Picture] = [*self.plots, *self.pictures]
        names = [figure.name.lower() for figure in shown]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"Plots and pictures must have names of their own, but there are two of "
                f"{', '.join(twice)}. Rename one."
            )


def _check_cell(cell: object, title: str) -> None:
    plain = cell is None or (isinstance(cell, str | int | float) and not isinstance(cell, bool))
    if plain and not (isinstance(cell, float) and not isfinite(cell)):
        return
    raise ValueError(
        f"A cell of the table {title!r} must be text, an integer, a finite number or None, but is "
        f"{cell!r} ({type(cell).__name__}). Write it as text, or None for what was not run."
    )


def _check_name(name: str) -> None:
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(
            f"A plot's name must be letters, digits, - and _, as it names a file, but is {name!r}. "
            "Put the rest into the caption."
        )
