"""Batches of pixels from pictures or videos, some of which may be unreadable."""

import sys
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from dcs_common.command_line import name_first
from dcs_dit.data.cache_config import CacheConfig
from dcs_dit.data.clip_pixels import decode_clips, import_pyav
from dcs_dit.data.labelled_pictures import LabelledPicture, PictureSet
from dcs_dit.data.picture_files import PictureReader
from dcs_dit.data.picture_pixels import check_pillow, decode_pixels


class PictureLoader:
    """Decodes pictures or clips in batches; names files that it skips on stderr, and counts them.

    Attributes:
        skipped: unreadable files so far, each with the reason.
    """

    def __init__(self, pictures: PictureSet, config: CacheConfig) -> None:
        """Open nothing yet.

        Args:
            pictures: all there are; they are asked for by number.
            config: size, clips, flips, batch size and what is bearable.

        Raises:
            ValueError: if Pillow is missing, or PyAV for clips, or the files are of another kind
                than those of the config.
        """
        check_pillow()
        if pictures.media == "clip":
            import_pyav()
        if (config.choice is not None) != (pictures.media == "clip"):
            raise ValueError(
                f"`fps` must be given for clips and for nothing else, but is {config.fps} for "
                f"{pictures.media}s. Find files of the other kind, or change it."
            )
        self.skipped: list[str] = []
        self._pictures, self._media, self._config = pictures.pictures, pictures.media, config
        self._reader = PictureReader()

    def batches(self, numbers: Iterable[int], allowed: float) -> Iterator[tuple[list[int], Tensor]]:
        """Yield the files' numbers (b) and pixels, uint8 (b, 3, H, W) or (b, 3, T, H, W).

        A mirrored copy follows its original and has the same number, as have clips of one video.

        Args:
            numbers: of the files.
            allowed: most files that may have been skipped, those of earlier calls counted.

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

    def _copies(self, picture: LabelledPicture, allowed: float) -> list[Tensor]:
        """Return the samples of one file: none if it is unreadable."""
        choice, size = self._config.choice, self._config.size
        try:
            content = self._reader.read(picture.file)
            if choice is None:
                samples = [decode_pixels(content, size)]
            else:
                samples = list(decode_clips(content, choice, size))
        except MemoryError:
            raise
        except Exception as error:  # a damaged file can raise nearly anything
            self._skip(picture, error, allowed)
            return []
        if not self._config.flips:
            return samples
        return [copy for sample in samples for copy in (sample, sample.flip(-1))]

    def _skip(self, picture: LabelledPicture, error: Exception, allowed: float) -> None:
        # Pillow's own message for an unknown kind of file is about a place in memory.
        reason = "Pillow cannot identify it" if "cannot identify" in str(error) else error
        said = f"{picture.file.location} ({reason})"
        self.skipped.append(said)
        print(f"dcs-dit: note: skipped an unreadable {self._media}: {said}", file=sys.stderr)
        if len(self.skipped) > allowed:
            raise ValueError(
                f"At most {100 * self._config.max_corrupt:g} % of a job's {self._media}s may be "
                f"unreadable, but {len(self.skipped)} already are: {name_first(self.skipped)}. "
                "Repair or remove them, or raise `max_corrupt`."
            )
