"""Finding pictures or clips in folders and zips, and reading their bytes.

What is found is told apart by its ending alone; no file is opened before it is needed. The order
depends on the names below each source and not on where the source lies, so that a folder and a
zip of it give the same pictures.
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NoReturn

Media = Literal["picture", "clip"]
ENDINGS: dict[Media, tuple[str, ...]] = {
    "picture": (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    "clip": (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".y4m"),
}


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture, or a video that clips are taken from, that has not been opened.

    Attributes:
        source: the folder or zip.
        name: path below it; decides the order.
        size: in bytes.
        in_zip: whether the source is a zip.
    """

    source: str
    name: str
    size: int
    in_zip: bool

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        return f"{self.source}/{self.name}"


def find_pictures(
    source: str | os.PathLike[str], media: Media = "picture"
) -> tuple[PictureFile, ...]:
    """List the pictures, or clips, in a folder, with all below it, or in a zip; sorted by name.

    Raises:
        ValueError: if the source is missing, unreadable, a damaged zip, of another kind or empty.
    """
    source = Path(source)
    in_zip = source.is_file() and source.suffix.lower() == ".zip"
    if in_zip:
        sizes = _in_zip(source)
    elif source.is_dir():
        sizes = _in_folder(source)
    else:
        raise ValueError(
            f"Every source must be a folder or a zip, but is {str(source)!r}. Name existing ones."
        )
    # Folder by folder, as one would walk through them.
    names = sorted(
        (name for name in sizes if _is_of(media, name)), key=lambda name: name.split("/")
    )
    if not names:
        clips = media == "picture" and any(_is_of("clip", name) for name in sizes)
        raise ValueError(
            f"Every source must hold {media}s ({', '.join(ENDINGS[media])}), but {str(source)!r} "
            f"holds none. Name others{', or give `--fps` for its clips' if clips else ''}."
        )
    return tuple(PictureFile(str(source), name, sizes[name], in_zip) for name in names)


def _is_of(media: Media, name: str) -> bool:
    """Judge by the ending. Hidden files are none: macOS writes one beside each file of a zip."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in ENDINGS[media] and not hidden


def _in_folder(folder: Path) -> dict[str, int]:
    def refuse(error: OSError) -> NoReturn:
        raise ValueError(
            f"Every folder must be readable, but {error.filename!r} is not: {error.strerror}. "
            "Change its permissions, or name another."
        ) from error

    sizes = {}
    for root, _, files in os.walk(folder, onerror=refuse, followlinks=True):
        for name in files:
            path = Path(root, name)
            if path.is_file():  # not so for a link to nowhere
                sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    return sizes


def _in_zip(path: Path) -> dict[str, int]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {entry.filename: entry.file_size for entry in archive.infolist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"Every zip must be whole, but {str(path)!r} is not: {error}. Copy it again."
        ) from error


class PictureReader:
    """Reads the bytes of files; keeps the zip that it read last open, as they come in order."""

    def __init__(self) -> None:
        self._path = ""
        self._archive: zipfile.ZipFile | None = None

    def read(self, picture: PictureFile) -> bytes:
        """Return a file's content.

        Raises:
            Exception: of nearly any kind, if the file or the zip is damaged.
        """
        if not picture.in_zip:
            return Path(picture.source, picture.name).read_bytes()
        if self._archive is None or self._path != picture.source:
            self.close()
            self._path, self._archive = picture.source, zipfile.ZipFile(picture.source)
        return self._archive.read(picture.name)

    def close(self) -> None:
        """Close the zip that is open."""
        if self._archive is not None:
            self._archive.close()
            self._archive = None
