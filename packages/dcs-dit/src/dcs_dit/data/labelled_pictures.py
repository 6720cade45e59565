"""Pictures, or clips, with their classes and captions.

Three kinds of sources: folders or zips with one sub-folder per class, folders or zips with a CSV
table, and folders or zips of pictures without labels. Clips are found in the same three ways.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from dcs_common.command_line import name_first
from dcs_dit.data.label_table import LabelTable
from dcs_dit.data.picture_files import Media, PictureFile, find_pictures


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture, or a video of clips, that has not been opened.

    Attributes:
        file: where it is.
        label: index of its class; None without one.
        caption: what it shows; None without one.
    """

    file: PictureFile
    label: int | None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures, or videos of clips, in a fixed order.

    Attributes:
        pictures: source by source, by name within each.
        label_names: the names of the classes, sorted unless a table orders them.
        media: what the files are.
    """

    pictures: tuple[LabelledPicture, ...]
    label_names: tuple[str, ...]
    media: Media = "picture"

    @property
    def digest(self) -> str:
        """A hash of names, sizes in bytes, labels and captions: not of where the sources lie."""
        digest = hashlib.sha256(json.dumps(self.label_names).encode())
        for picture in self.pictures:
            about = [picture.file.name, picture.file.size, picture.label, picture.caption]
            digest.update(json.dumps(about).encode())
        return digest.hexdigest()[:16]


def find_labelled_pictures(
    sources: Sequence[str | os.PathLike[str]],
    table: str | os.PathLike[str] | None = None,
    *,
    media: Media = "picture",
) -> PictureSet:
    """List the pictures, or clips, of sources with their labels.

    Args:
        sources: folders or zips. Without a table, the name of a picture's sub-folder is its class,
            and pictures of a source without sub-folders have none.
        table: CSV file as :class:`LabelTable` reads it.
        media: what to list; files of the other kind are left alone.

    Raises:
        ValueError: if a source is unusable or holds no pictures, its folders are no classes, or
            the table is unusable or lacks a picture.
    """
    if not sources:
        raise ValueError(f"There must be a source of {media}s, but there is none. Name one.")
    files = [find_pictures(source, media) for source in sources]
    if table is not None:
        return _by_table([file for found in files for file in found], LabelTable.read(table), media)
    classes = [(file, name) for found in files for file, name in _with_folders(found, media)]
    label_names = sorted({name for _, name in classes if name is not None})
    labels = {name: label for label, name in enumerate(label_names)}
    pictures = tuple(
        LabelledPicture(file, None if name is None else labels[name]) for file, name in classes
    )
    return PictureSet(pictures, tuple(label_names), media)


def _by_table(files: Sequence[PictureFile], table: LabelTable, media: Media) -> PictureSet:
    unknown = [file.location for file in files if file.name.rsplit("/", 1)[-1] not in table.rows]
    if unknown:
        raise ValueError(
            f"Every {media} must have a row in the table, but {table.path} has none for "
            f"{name_first(unknown)}. Its column `name` holds file names without folders; add them."
        )
    pictures = tuple(
        LabelledPicture(file, *table.rows[file.name.rsplit("/", 1)[-1]]) for file in files
    )
    return PictureSet(pictures, table.label_names, media)


def _with_folders(
    files: Sequence[PictureFile], media: Media
) -> list[tuple[PictureFile, str | None]]:
    """Pair the files of one source with the sub-folders that they lie in."""
    folders = [file.name.split("/")[:-1] for file in files]
    # A zip often holds one folder that holds everything; nobody can name what lies in it.
    while all(len(path) > 1 and path[0] == folders[0][0] for path in folders):
        folders = [path[1:] for path in folders]
    depth = len(folders[0])
    for file, path in zip(files, folders, strict=True):
        if len(path) > 1 or len(path) != depth:
            raise ValueError(
                f"Without a table the {media}s of a source must lie in one sub-folder per class, "
                f"or all without, but {file.location} lies {len(path)} folders deep and "
                f"{files[0].name} {depth}. Name the folder above the classes, or give a table."
            )
    return [(file, path[0] if path else None) for file, path in zip(files, folders, strict=True)]
