"""Finding pictures and clips in folders, zips and single files, and opening them.

What is found is told apart by its ending alone; no file is opened before it is needed. The order
depends on the names below each source and not on where the source lies, so that a folder and a
zip of it give the same samples, and a data set may be moved between two halves of a run.
"""

import io
import os
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, NoReturn

from PIL import UnidentifiedImageError
from torch import Tensor

from dcs_tok.clips import CLIP_ENDINGS
from dcs_tok.pictures import read_bytes

Kind = Literal["picture", "clip"]

PICTURE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")
ENDINGS: dict[Kind, tuple[str, ...]] = {"picture": PICTURE_ENDINGS, "clip": CLIP_ENDINGS}
MAX_OPEN_ARCHIVES = 64
"""Zips that a process keeps open at a time, well below the usual limit of open files."""


class UnreadableSampleError(ValueError):
    """A file that is damaged, or not what its ending says.

    Attributes:
        location: where it is.
        reason: what reading it met.
    """

    def __init__(self, kind: str, location: str, reason: object) -> None:
        super().__init__(
            f"Every {kind} must be readable, but {location!r} is not: {reason}. Remove it."
        )
        self.location = location
        self.reason = str(reason)


@contextmanager
def readable(kind: str, location: str) -> Iterator[None]:
    """Raise an :class:`UnreadableSampleError` for whatever is raised within.

    A damaged file can raise nearly anything in the plugins of Pillow and FFmpeg.
    """
    try:
        yield
    except (MemoryError, UnreadableSampleError):
        raise
    except Exception as error:
        raise UnreadableSampleError(kind, location, error) from error


def decode_picture(content: bytes, location: str) -> Tensor:
    """Return a picture file's content, upright and in sRGB, as uint8 (3, H, W).

    Raises:
        UnreadableSampleError: if it is damaged.
    """
    with readable("picture", location):
        try:
            return read_bytes(io.BytesIO(content))
        except UnidentifiedImageError:  # its message is about a place in memory
            raise ValueError("Pillow cannot identify it") from None


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A picture or clip that has not been opened.

    Attributes:
        source: the folder or zip.
        name: path below it; decides the order.
        in_zip: whether the source is a zip.
    """

    source: str
    name: str
    in_zip: bool = False

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        return f"{self.source}/{self.name}"

    @property
    def kind(self) -> Kind | None:
        """What it is by its ending."""
        return kind_of(self.name)


def kind_of(name: str) -> Kind | None:
    """Tell pictures from clips by the ending; None for anything else, and for hidden files.

    Hidden files, whose name begins with a dot, hold no samples: macOS writes one beside every
    picture of a zip, under the picture's own ending.
    """
    path = PurePosixPath(name)
    if path.name.startswith("."):
        return None
    ending = path.suffix.lower()
    return next((kind for kind, endings in ENDINGS.items() if ending in endings), None)


def find_samples(
    sources: Sequence[str | os.PathLike[str]], kinds: Sequence[Kind] = tuple(ENDINGS)
) -> tuple[SampleFile, ...]:
    """List the samples in folders (with all below them), zips and single files.

    Returns:
        Samples of the given kinds, source by source, by name within each.

    Raises:
        ValueError: if a source is missing, unreadable, a damaged zip or of another kind.
    """
    found: list[SampleFile] = []
    for source in map(Path, sources):
        if source.is_dir():
            names, in_zip = _in_folder(source), False
        elif source.is_file() and source.suffix.lower() == ".zip":
            names, in_zip = _in_zip(source), True
        elif source.is_file() and kind_of(source.name) in kinds:
            found.append(SampleFile(str(source.parent), source.name))
            continue
        else:
            endings = sorted(ending for kind in kinds for ending in ENDINGS[kind])
            raise ValueError(
                f"Every source must be a folder, a zip or one of {', '.join(endings)}, "
                f"but is {str(source)!r}. Name existing ones."
            )
        # Folder by folder, as one would walk through them.
        names = sorted(
            (name for name in names if kind_of(name) in kinds), key=lambda name: name.split("/")
        )
        found += [SampleFile(str(source), name, in_zip) for name in names]
    return tuple(found)


def _in_folder(folder: Path) -> list[str]:
    def refuse(error: OSError) -> NoReturn:
        raise ValueError(
            f"Every folder must be readable, but {error.filename!r} is not: {error.strerror}. "
            "Change its permissions, or name another."
        ) from error

    return [
        (Path(root) / name).relative_to(folder).as_posix()
        for root, _, files in os.walk(folder, onerror=refuse, followlinks=True)
        for name in files
    ]


def _in_zip(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"Every zip must be whole, but {str(path)!r} is not: {error}. Copy it again."
        ) from error


class SampleOpener:
    """Opens samples; keeps the zips it needs open, in each process its own.

    May be sent to other processes, and survives a fork: a file handle that two processes share
    would have one position for both.
    """

    def __init__(self) -> None:
        self._archives: OrderedDict[str, zipfile.ZipFile] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        self._archives = OrderedDict()
        self._process = os.getpid()

    def open(self, sample: SampleFile) -> IO[bytes]:
        """Return a file that can be read and sought.

        Seeking in a member of a zip reads what lies between: long clips do better as files of
        their own.
        """
        if sample.in_zip:
            return self._archive(sample.source).open(sample.name)
        return open(sample.location, "rb")

    def read_picture(self, sample: SampleFile) -> Tensor:
        """Return a picture, upright and in sRGB: uint8 (3, H, W).

        Raises:
            UnreadableSampleError: if it is damaged.
        """
        with readable("picture", sample.location), self.open(sample) as file:
            return decode_picture(file.read(), sample.location)

    def _archive(self, path: str) -> zipfile.ZipFile:
        if self._process != os.getpid():
            self._archives = OrderedDict()
            self._process = os.getpid()
        if path not in self._archives:
            while len(self._archives) >= MAX_OPEN_ARCHIVES:
                self._archives.popitem(last=False)[1].close()
            self._archives[path] = zipfile.ZipFile(path)
        self._archives.move_to_end(path)
        return self._archives[path]
