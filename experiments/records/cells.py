"""How figures are shown, the same in Markdown and on the page."""

import re
from collections.abc import Iterable

from records.report import Cell, Table

NOT_RUN = "not run"
_NUMBER = re.compile(r"[+\-−±~<>≤≥]?\s?[0-9].*")


def cell_text(cell: Cell) -> str:
    """Return a cell as a table shows it: floats with four digits, thousands apart."""
    if cell is None:
        return NOT_RUN
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    return f"{cell:.4g}"


def number_columns(table: Table) -> list[bool]:
    """Return for each column whether its cells are numbers, which stand to the right."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [index > 0 and _are_numbers(cells) for index, cells in enumerate(columns)]


def duration(seconds: float | None) -> str:
    """Return a time in words, such as ``3 min 20 s``."""
    if seconds is None:
        return "time not kept"
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def size(num_bytes: int) -> str:
    """Return a number of bytes in words, such as ``1.2 MB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes} bytes"


def counted(number: int, noun: str) -> str:
    """Return ``1 stage`` or ``2 stages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _are_numbers(cells: Iterable[Cell]) -> bool:
    texts = [cell for cell in cells if isinstance(cell, str)]
    return all(_NUMBER.fullmatch(text) or text in ("", "-", "–", NOT_RUN) for text in texts)
