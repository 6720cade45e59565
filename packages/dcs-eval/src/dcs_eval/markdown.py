"""Tables in Markdown, and numbers of pictures in words."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(map(_cell, cells)) + " |" for cells in lines)


def counted(number: int, what: str = "picture") -> str:
    """Return ``1 picture`` or ``2 pictures``, or as many of something else."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _cell(text: str) -> str:
    # Names of files and models may hold what parts columns.
    return text.replace("|", "\\|")
