"""Tables in Markdown, and numbers of pictures in words."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def counted(pictures: int) -> str:
    """Return ``1 picture`` or ``2 pictures``."""
    return f"{pictures} picture{'' if pictures == 1 else 's'}"
