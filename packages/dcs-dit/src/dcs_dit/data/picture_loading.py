"""Batches of pixels from pictures, some of which may be unreadable."""

import sys
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from dcs_common.command_line import name_first
from dcs_dit.data.cache_config import CacheConfig
from dcs_dit.data.labelled_pictures import LabelledPicture
from dcs_dit.data.picture_files import PictureReader
from dcs_dit.data.picture_pixels import check_pillow, decode_pixels


class PictureLoader:
    """Decodes pictures in batches; names on stderr those that it skips, and counts them.

    Attributes:
        skipped: unreadable pictures so far, each with the reason.
    """

    def __init__(self, pictures: Sequence[LabelledPicture], config: CacheConfig) -> None:
        """Open nothing yet.

        Args:
            pictures: all there are; they are asked for by number.
            config: size, flips, batch size and what is bearable.

        Raises:
            ValueError: if Pillow is missing.
        """
        check_pillow()
        self.skipped: list[str] = []
        self._pictures, self._config = pictures, config
        self._reader = PictureReader()

    def batches(self, numbers: Iterable[int], allowed: float) -> Iterator[tuple[list[int], Tensor]]:
        """Yield the pictures' numbers (b) and pixels, uint8 (b, 3, H, W).

        A mirrored copy follows its original and has the same number.

        Args:
            numbers: of the pictures.
            allowed: most pictures that may have been skipped, those of earlier calls counted.

        Raises:
            ValueError: if more are unreadable.
        """
        taken: list[int] = []
        pixels: list[Tensor] = []
        for number in numbers:
            for copy in self._copies(self._pictures[number], allowed):
                taken.append(number)
                pixels.append(copy)
                if len(taken) == self._config.batch_size:
                    yield taken, torch.stack(pixels)
                    taken, pixels = [], []
        if taken:
            yield taken, torch.stack(pixels)

    def close(self) -> None:
        """Close the zip that is open."""
        self._reader.close()

    def _copies(self, picture: LabelledPicture, allowed: float) -> tuple[Tensor, ...]:
        try:
            pixels = decode_pixels(self._reader.read(picture.file), self._config.size)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file can raise nearly anything
            self._skip(picture, error, allowed)
            return ()
        return (pixels, pixels.flip(-1)) if self._config.flips else (pixels,)

    def _skip(self, picture: LabelledPicture, error: Exception, allowed: float) -> None:
        # Pillow's own message for an unknown kind of file is about a place in memory.
        reason = "Pillow cannot identify it" if "cannot identify" in str(error) else error
        said = f"{picture.file.location} ({reason})"
        self.skipped.append(said)
        print(f"dcs-dit: note: skipped an unreadable picture: {said}", file=sys.stderr)
        if len(self.skipped) > allowed:
            raise ValueError(
                f"At most {100 * self._config.max_corrupt:g} % of a job's pictures may be "
                f"unreadable, but {len(self.skipped)} already are: {name_first(self.skipped)}. "
                "Repair or remove them, or raise `max_corrupt`."
            )
