"""A CSV table that says which class, and perhaps which caption, each picture has."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What a table says.

    Attributes:
        path: where it was read from, for messages.
        label_names: the classes, by the integers of the column ``label`` or else by name.
        rows: (label, caption) by the name of a picture's file, without folders. The label is None
            where the class is empty, the caption where there is none.
    """

    path: str
    label_names: tuple[str, ...]
    rows: Mapping[str, tuple[int | None, str | None]]

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "LabelTable":
        """Read a table with columns ``name`` and ``class``, and perhaps ``caption`` and ``label``.

        Other columns are left alone, and so are rows of pictures that no source holds: one table
        may serve several parts of a data set.

        Raises:
            ValueError: if it is missing, no CSV in UTF-8, lacks a column or contradicts itself.
        """
        path = Path(path)
        lines = _read_lines(path)
        numbers: dict[str, int] = {}
        said: dict[str, tuple[str, str | None]] = {}
        for line, row in lines:
            name, label_name = row["name"], row["class"]
            if label_name and "label" in row:
                number = _integer(row["label"], path, line)
                if numbers.setdefault(label_name, number) != number:
                    raise ValueError(
                        f"Every class of a table must have one label, but {label_name!r} has "
                        f"{numbers[label_name]} and {number} in {path}. Correct line {line}."
                    )
            content = (label_name, row.get("caption") or None)
            if said.setdefault(name, content) != content:
                raise ValueError(
                    f"Rows of one name must agree, but those of {name!r} in {path} do not. "
                    f"Rename pictures, or correct line {line}."
                )
        found = {label_name for label_name, _ in said.values() if label_name}
        names = sorted(found, key=lambda label_name: (numbers.get(label_name, 0), label_name))
        if len(set(numbers.values())) != len(numbers):
            raise ValueError(
                f"Every class of a table must have a label of its own, but in {path} there are "
                f"{len(numbers)} classes and {len(set(numbers.values()))} labels. Correct the "
                "column `label`, or leave it out."
            )
        labels = {label_name: label for label, label_name in enumerate(names)}
        rows = {
            name: (labels.get(label_name), caption) for name, (label_name, caption) in said.items()
        }
        return cls(str(path), tuple(names), rows)


def _read_lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows with the numbers of their lines."""
    if not path.is_file():
        raise ValueError(f"A table of labels must exist, but {path} does not. Check the path.")
    try:
        reader = csv.DictReader(
            io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True
        )
        columns = tuple(reader.fieldnames or ())
        rows = [(reader.line_num, row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"A table of labels must be CSV in UTF-8, but {path} is not ({error}). Export it again."
        ) from None
    missing = [column for column in ("name", "class") if column not in columns]
    if missing:
        raise ValueError(
            f"A table of labels must have the columns name and class, but {path} lacks "
            f"{' and '.join(missing)}: it has {', '.join(columns) or 'none'}. Rename its columns."
        )
    for line, row in rows:
        if None in row or None in row.values():
            raise ValueError(
                f"Every row of a table must have {len(columns)} fields as its header has, but "
                f"line {line} of {path} has not. Correct it."
            )
    return rows


def _integer(text: str, path: Path, line: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"The column `label` must hold integers, but line {line} of {path} holds {text!r}. "
            "Correct it, or leave the column out."
        ) from None
