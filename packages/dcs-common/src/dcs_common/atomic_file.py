"""Files that are whole or not there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path


def check_folder_of(path: str | PathLike[str]) -> Path:
    """Return the path of a file to be written.

    Raises:
        ValueError: if its folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(
            f"The output's folder must exist, but {path.parent} does not. Create it first."
        )
    return path


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what was written there is moved into place at the end.

    Whatever stops the process, ``path`` holds its old content or all of the new one.

    Raises:
        ValueError: if the folder does not exist.
    """
    path = check_folder_of(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def write_atomically(path: str | PathLike[str], data: bytes) -> None:
    """Write ``data`` as a :func:`whole_file`, flushed to the disk before it is moved.

    Raises:
        ValueError: if the folder does not exist.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
