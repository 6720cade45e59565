"""Pictures of known classes in folders and zips, and samples in folders by level.

A picture's class is the name of the folder that holds it, or stands in a table where pictures lie
side by side. Nothing is decoded before it is asked for.
"""

import csv
import hashlib
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal, overload

from PIL import Image
from torch import Tensor

from dcs_eval.clips import CLIP_ENDINGS
from dcs_eval.pictures import decode_picture, read_picture, spread

Media = Literal["picture", "clip"]

_LEVEL = re.compile(r"level-([1-9][0-9]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFile:
    """A picture that has not been opened.

    Attributes:
        source: the folder or zip that it is in.
        name: its path below that, with slashes.
        label: its class, or None.
    """

    source: Path
    name: str
    label: str | None

    @property
    def place(self) -> str:
        """Where it is, for tables and messages."""
        return str(self.source / self.name)


class LabelledFiles:
    """Pictures (1, 3, H, W) in [0, 1], each read whenever it is asked for.

    Args:
        files: in order; all with a label or none.
    """

    def __init__(self, files: Sequence[LabelledFile]) -> None:
        self.files = tuple(files)
        self._archives: dict[Path, zipfile.ZipFile] = {}

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class of each, or None where they have none."""
        found = tuple(file.label for file in self.files if file.label is not None)
        return found if len(found) == len(self.files) and found else None

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> "LabelledFiles": ...

    def __getitem__(self, index: int | slice) -> "Tensor | LabelledFiles":
        """Return a picture, or some of them unread.

        Raises:
            ValueError: if a picture cannot be read.
        """
        if isinstance(index, slice):
            return LabelledFiles(self.files[index])
        return self._read(self.files[index])

    def __iter__(self) -> Iterator[Tensor]:
        return map(self._read, self.files)

    @property
    def digest(self) -> str:
        """The SHA-256 of the pictures' names, classes and contents, in their order.

        Where the folders lie, and whether they are zips, does not matter.
        """
        whole = hashlib.sha256()
        for file in self.files:
            content = hashlib.sha256(self.content(file)).hexdigest()
            whole.update(f"{file.name}\0{file.label}\0{content}\n".encode())
        return whole.hexdigest()

    def _read(self, file: LabelledFile) -> Tensor:
        if file.source.is_dir():
            return read_picture(file.source / file.name)
        return decode_picture(BytesIO(self.content(file)), file.place)

    def content(self, file: LabelledFile) -> bytes:
        """Return the bytes of one of the files, undecoded.

        Raises:
            ValueError: if it is in a zip and damaged.
        """
        if file.source.is_dir():
            return (file.source / file.name).read_bytes()
        if file.source not in self._archives:
            self._archives[file.source] = zipfile.ZipFile(file.source)
        try:
            return self._archives[file.source].read(file.name)
        except Exception as error:  # a damaged zip can raise nearly anything, too
            raise ValueError(
                f"Every file in a zip must be whole, but {file.place} is not ({error}). "
                "Copy the zip again."
            ) from None


def find_files(
    places: Sequence[Path], limit: int | None = None, media: Media = "picture"
) -> dict[str, LabelledFile]:
    """Return pictures or clips by the names that tables give them; classes do not matter.

    Args:
        places: files, and folders and zips of them.
        limit: how many to take at most, spread evenly over all.
        media: pictures or clips, told by the endings of their names.

    Raises:
        ValueError: if there is none, or two have one name.
    """
    found: dict[str, LabelledFile] = {}
    for place in places:
        source, names = place, [place.name]
        if place.is_file() and not zipfile.is_zipfile(place):
            source = place.parent
        else:
            names = _names(place, media)
        if not names:
            raise ValueError(f"There must be {media}s in {place}, but it holds none.")
        for name in names:
            if name in found:
                raise ValueError(
                    f"Each {media} must have a name of its own, but "
                    f"{found[name].place} and {source / name} have the same. Rename one."
                )
            found[name] = LabelledFile(source=source, name=name, label=None)
    names = spread(list(found), len(found) if limit is None else limit)
    return {name: found[name] for name in names}


def find_labelled(
    sources: Sequence[Path],
    table: Path | None = None,
    *,
    what: str = "the reference",
    media: Media = "picture",
) -> LabelledFiles:
    """Return the pictures or clips in folders and zips, in the order of their names within each.

    Args:
        sources: each holds pictures side by side, or in one folder for each class.
        table: CSV with the columns ``name`` and ``class``, for pictures that are in no folder.
        what: their name in messages.
        media: pictures or clips, told by the endings of their names.

    Raises:
        ValueError: if a source cannot be read, there is no picture, or a class is not known.
    """
    classes = None if table is None else read_classes(table)
    files: list[LabelledFile] = []
    for source in sources:
        for name in _names(source, media):
            folder = PurePosixPath(name).parent.name
            label = folder or (None if classes is None else classes.get(name))
            if label is None and classes is not None:
                raise ValueError(
                    f"The table must name the class of every picture, but {table} lacks {name}, "
                    f"which is in {source}. Add a row, or leave the picture out."
                )
            files.append(LabelledFile(source=source, name=name, label=label))
    if not files:
        raise ValueError(
            f"There must be {media}s in {what}, but {_listed(sources)} "
            f"{'holds' if len(sources) == 1 else 'hold'} none."
        )
    without = [file.place for file in files if file.label is None]
    if 0 < len(without) < len(files):
        raise ValueError(
            f"Either all {media}s of {what} must have a class or none, but {len(without)} of "
            f"{len(files)} are in no folder, {without[0]} first. Move them, or give a table."
        )
    return LabelledFiles(files)


def find_levels(folder: Path, media: Media = "picture") -> dict[int, LabelledFiles]:
    """Return the samples of each level in ``level-1/CLASS/*``, or in ``level-1/*`` unlabelled.

    Args:
        folder: holds them.
        media: pictures or clips.

    Raises:
        ValueError: if there is no such folder, or one holds no samples.
    """
    found = {
        int(match[1]): place
        for place in (folder.iterdir() if folder.is_dir() else ())
        if place.is_dir() and (match := _LEVEL.fullmatch(place.name))
    }
    if not found:
        raise ValueError(
            f"Samples must lie in folders level-1, level-2, ..., but {folder} "
            f"{'has none' if folder.is_dir() else 'is no folder'}. Give the folder that holds them."
        )
    return {
        level: find_labelled([place], what=f"level {level}", media=media)
        for level, place in sorted(found.items())
    }


def read_classes(table: Path) -> dict[str, str]:
    """Return the class of each picture by its name, from a CSV file.

    Raises:
        ValueError: if it is missing, lacks a column, or names one picture in two classes.
    """
    if not table.is_file():
        raise ValueError(f"A table of classes must exist, but {table} does not. Check the path.")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = tuple(reader.fieldnames or ())
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"A table of classes must be CSV in UTF-8, but {table} is not ({error}). Save it anew."
        ) from None
    if not {"name", "class"} <= set(columns):
        raise ValueError(
            f"A table of classes must have the columns name and class, but {table} has "
            f"{_listed(columns) or 'none'}. Rename them."
        )
    found: dict[str, str] = {}
    for row in rows:
        name, label = row["name"], row["class"]
        if not label or found.get(name, label) != label:
            classes = f"the classes {found[name]} and {label}" if label else "none"
            raise ValueError(
                f"Every picture must have one class, but in {table} {name} has {classes}. "
                "Correct it."
            )
        found[name] = label
    return found


def _names(source: Path, media: Media = "picture") -> list[str]:
    """Return the names of pictures or clips below a folder or in a zip, folder by folder."""
    if source.is_dir():
        names = [path.relative_to(source).as_posix() for path in source.rglob("*")]
    elif source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    else:
        raise ValueError(
            f"{media.capitalize()}s must be in a folder or a zip, but "
            f"{source} {'is neither' if source.exists() else 'does not exist'}. Check the path."
        )
    Image.init()  # fills the list of endings
    endings = Image.EXTENSION if media == "picture" else CLIP_ENDINGS
    return sorted(
        (
            name
            for name in names
            if PurePosixPath(name).suffix.lower() in endings
            and not PurePosixPath(name).name.startswith(".")
        ),
        key=lambda name: name.split("/"),
    )


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
