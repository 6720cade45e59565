"""Pictures of files with a bar while they are read, and all of them read once beforehand."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor
from tqdm import tqdm

from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.picture_set import PictureSet


def as_set(files: LabelledFiles, what: str) -> PictureSet:
    """Return the pictures of files, read when they are needed, with a bar on a terminal."""
    return PictureSet(pictures=shown(files, what), labels=files.labels)


def check_files(sets: Iterable[LabelledFiles | None]) -> None:
    """Read every picture of several sets once, so that a bad one stops a long run at its start.

    Raises:
        ValueError: if one cannot be read.
    """
    for files in sets:
        for _ in () if files is None else shown(files, "checking"):
            pass


@contextmanager
def bar(what: str, pictures: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal; give what moves it by a number of pictures."""
    with tqdm(desc=what, total=pictures, disable=not sys.stderr.isatty(), leave=False) as shown:
        yield shown.update


def shown(pictures: LabelledFiles, what: str) -> Iterator[Tensor]:
    """Yield pictures, with a bar on a terminal from the first one on."""
    # A generator, so that a bar appears when its pictures are read, and not before.
    yield from tqdm(
        pictures, desc=what, total=len(pictures), disable=not sys.stderr.isatty(), leave=False
    )
