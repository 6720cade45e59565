"""Clips in files, cut by a rule, and read when they are asked for."""

from collections.abc import Iterator
from typing import overload

from torch import Tensor

from dcs_eval.clips import frame_numbers, read_frames
from dcs_eval.features.picture_collection import picture_digest
from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.protocols.clip_rule import ClipRule


class ClipFiles:
    """Clips (1, 3, T, H, W) in [0, 1], one of each video, each read whenever it is asked for.

    A video is decoded once to count its frames and once more to read them; which ones it takes is
    remembered.

    Args:
        files: videos and animated WebP.
        rule: which frames of them.
    """

    def __init__(self, files: LabelledFiles, rule: ClipRule) -> None:
        self.files = files
        self.rule = rule
        self._numbers: dict[int, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> "ClipFiles": ...

    def __getitem__(self, index: int | slice) -> "Tensor | ClipFiles":
        """Return a clip, or some of them unread.

        Raises:
            ValueError: if a clip cannot be read, or is too short.
        """
        if isinstance(index, slice):
            return ClipFiles(self.files[index], self.rule)
        file = self.files.files[index]
        content = self.files.content(file)
        if index not in self._numbers:
            self._numbers[index] = frame_numbers(content, file.place, self.rule)
        return read_frames(content, file.place, self._numbers[index])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    @property
    def digest(self) -> str:
        """Changes whenever the names of the files, their contents or the rule do."""
        return f"{self.rule.text} {picture_digest(self.files)}"
