"""Weights that published figures depend on, told from all others by their SHA-256."""

import hashlib
from os import PathLike
from pathlib import Path


def weight_digest(file: str | PathLike[str], checksum: str | None) -> str:
    """Return the SHA-256 of a file of weights, in hexadecimal.

    Args:
        file: to read.
        checksum: what it must be; None if any will do.

    Raises:
        ValueError: if the file is missing, or its checksum is another.
    """
    if not Path(file).is_file():
        raise ValueError(f"A file of weights must exist, but {file} does not. Check the path.")
    with Path(file).open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if checksum is not None and found != checksum.lower():
        raise ValueError(
            f"The weights must have the SHA-256 {checksum}, but {file} has {found}. Copy the file "
            "again, or pass `checksum=None` for a network of your own, whose figures cannot be "
            "compared with others."
        )
    return found


def space_name(verified: str, family: str, digest: str, known: str) -> str:
    """Return a feature space's name, which betrays weights that are not the published ones.

    Args:
        verified: with the published weights.
        family: of the network, for the others.
        digest: SHA-256 of the weights.
        known: SHA-256 of the published ones.
    """
    return verified if digest == known else f"{family}-unverified-{digest[:8]}"
