"""The pictures ``arr_0`` of an npz, as ADM's references and batches of samples hold them.

They are read one by one: ADM's ImageNet reference alone holds 10,000, which are 2 GB.
"""

import math
import weakref
import zipfile
from os import PathLike
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

_MEMBER = "arr_0.npy"


class NpzPictures:
    """Pictures (1, 3, H, W) in [0, 1], each read when it is asked for; fastest in order.

    Attributes:
        path: of the file.
        size: (height, width).
        digest: names their content.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Open the pictures of a file.

        Raises:
            ValueError: if it is no npz, or ``arr_0`` is missing or not (N, H, W, 3) of uint8.
        """
        self.path = Path(path)
        self._stream: IO[bytes] | None = None
        try:
            with zipfile.ZipFile(self.path) as archive:
                about = archive.getinfo(_MEMBER)
                with archive.open(about) as stream:
                    shape, by_columns, kind = _read_header(stream)
                    self._start = stream.tell()
        except KeyError:
            raise ValueError(
                f"Pictures in an npz must be called arr_0, but {self.path} has none of that name. "
                "Save them with `numpy.savez(path, pictures)`."
            ) from None
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"A file of pictures must be a whole npz, but {self.path} is not ({error}). "
                "Check the path, or copy it again."
            ) from None
        if kind != np.uint8 or len(shape) != 4 or shape[3] != 3 or not all(shape) or by_columns:
            raise ValueError(
                f"arr_0 must hold 8-bit pictures (N, H, W, 3), but in {self.path} it holds {kind} "
                f"{shape}{' by columns' if by_columns else ''}. Save them as uint8, row by row."
            )
        if about.file_size != self._start + math.prod(shape):
            raise ValueError(
                f"arr_0 must hold as many bytes as its shape {shape} says, but {self.path} holds "
                f"{about.file_size - self._start}. Save it again."
            )
        self._count = shape[0]
        self.size: tuple[int, int] = (shape[1], shape[2])
        self.digest = f"{shape}-{about.CRC:08x}"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Tensor:
        """Return a picture.

        Raises:
            ValueError: if the file is cut.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"there are {self._count} pictures, but number {index} was asked for")
        if self._stream is None:
            archive = zipfile.ZipFile(self.path)
            self._stream = archive.open(_MEMBER)
            # The stream stays open, as going on is fast and starting over is not.
            weakref.finalize(self, _close, self._stream, archive)
        length = 3 * self.size[0] * self.size[1]
        try:
            self._stream.seek(self._start + index * length)
            content = self._stream.read(length)
        except (EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"A file of pictures must be whole, but {self.path} is not ({error}). Copy it "
                "again."
            ) from None
        rows = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(1, *self.size, 3)
        return rows.permute(0, 3, 1, 2).float().div(255)


def _close(stream: IO[bytes], archive: zipfile.ZipFile) -> None:
    stream.close()
    archive.close()


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, whether it is stored by columns, and type of an array in numpy's format."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)
