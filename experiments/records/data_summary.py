"""Which data a run used: names, counts and digests, never where they lay."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

#: Beyond these bytes a folder's names and sizes are digested in place of its contents.
MAX_DIGESTED_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSummary:
    """A file or folder without its place.

    Attributes:
        use: what it was given as: data, held-out, labels and so on.
        name: its last part.
        files, bytes: how much it held; none where it is gone.
        sha256: of a file as `sha256sum` has it. Of a folder, of the lines ``SHA256  NAME`` of all
            its files, sorted by name; see ``of``. None where it is gone.
        of: "contents", or "names and sizes" (lines ``BYTES  NAME``) of more than a GiB.
    """

    use: str
    name: str
    files: int
    bytes: int
    sha256: str | None
    of: str


def summarise_data(use: str, path: str | PathLike[str]) -> DataSummary:
    """Return what identifies a file or folder."""
    path = Path(path)
    found = sorted(_files(path))
    num_bytes = sum(file.stat().st_size for _, file in found)
    by_content = num_bytes <= MAX_DIGESTED_BYTES or path.is_file()
    if not found:
        digest = None
    elif path.is_file():
        digest = _sha256(path)
    else:
        lines = (
            f"{_sha256(file) if by_content else file.stat().st_size}  {name}\n"
            for name, file in found
        )
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return DataSummary(
        use=use,
        name=path.resolve().name,
        files=len(found),
        bytes=num_bytes,
        sha256=digest,
        of="contents" if by_content else "names and sizes",
    )


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    for file in path.rglob("*"):
        if file.is_file():
            yield file.relative_to(path).as_posix(), file


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
