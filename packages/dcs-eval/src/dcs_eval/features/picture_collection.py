"""Pictures whose features are taken: read in batches, and told from others by a digest."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dcs_eval.eight_bit import to_bytes
from dcs_eval.labelled_files import LabelledFiles


@runtime_checkable
class DigestedPictures(Protocol):
    """Pictures or clips that are read when asked for, and know what they are.

    Attributes:
        digest: a text that changes whenever the pictures do.
    """

    @property
    def digest(self) -> str: ...  # noqa: D102

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        """Return a picture (1, 3, H, W) or a clip (1, 3, T, H, W) in [0, 1]."""


#: Of a batch at most, frames of clips counted one by one: 200 MB as floats. Feature spaces resize
#: pictures only after this.
BATCH_PIXELS = 2**24

#: A tensor is (N, 3, H, W) or (N, 3, T, H, W) in [0, 1].
Pictures = Tensor | LabelledFiles | DigestedPictures


def batches(pictures: Pictures, indices: Iterable[int], size: int) -> Iterator[Tensor]:
    """Yield neighbouring pictures of one size together, rounded to 8 bits.

    Args:
        pictures: to read.
        indices: which of them, at least one.
        size: how many together at most; fewer where they are large.

    Raises:
        ValueError: if one is not usable.
    """
    waiting: list[Tensor] = []
    for index in indices:
        one = pictures[index : index + 1] if isinstance(pictures, Tensor) else pictures[index]
        if one.ndim not in (4, 5) or one.shape[:2] != (1, 3) or not one.is_floating_point():
            raise ValueError(
                "Pictures must be float tensors (1, 3, H, W) in [0, 1], or clips (1, 3, T, H, W), "
                f"but number {index} is {one.dtype} {tuple(one.shape)}. Pass RGB."
            )
        if not 0 <= one.min() <= one.max() <= 1:
            raise ValueError(
                f"Pictures must lie in [0, 1], but number {index} has values from "
                f"{float(one.min()):g} to {float(one.max()):g}. Clamp or rescale them."
            )
        most = min(size, max(1, BATCH_PIXELS * 3 // one.numel()))
        if waiting and (one.shape != waiting[0].shape or len(waiting) >= most):
            yield torch.cat(waiting).float().div(255)
            waiting = []
        waiting.append(to_bytes(one))
    yield torch.cat(waiting).float().div(255)


def picture_digest(pictures: Pictures) -> str:
    """Return a digest of what pictures are, without decoding them.

    Of files the names below their folder or zip, the sizes in bytes and the CRC-32, which a zip
    holds, so that a set may move or be packed, but no picture may change; of tensors the numbers
    themselves.
    """
    digest = hashlib.sha256()
    if isinstance(pictures, Tensor):
        digest.update(f"{pictures.dtype} {tuple(pictures.shape)}".encode())
        for part in pictures:
            digest.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    elif isinstance(pictures, LabelledFiles):
        for line in _files(pictures):
            digest.update(line.encode())
    else:
        digest.update(pictures.digest.encode())
    return digest.hexdigest()[:16]


def _files(pictures: LabelledFiles) -> Iterator[str]:
    """Yield name, size and checksum of every file, one after another."""
    archives: dict[Path, dict[str, tuple[int, int]]] = {}
    for file in pictures.files:
        if file.source.is_dir():
            content = pictures.content(file)
            size, checksum = len(content), zlib.crc32(content)
        else:
            if file.source not in archives:
                with zipfile.ZipFile(file.source) as archive:
                    archives[file.source] = {
                        one.filename: (one.file_size, one.CRC) for one in archive.infolist()
                    }
            size, checksum = archives[file.source][file.name]
        yield f"{file.name}\0{size}\0{checksum:08x}\n"
