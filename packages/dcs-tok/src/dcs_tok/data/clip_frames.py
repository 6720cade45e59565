"""Frames of a clip by their number, found without decoding what comes before."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from math import floor
from typing import IO, Any

import torch
from torch import Tensor

from dcs_tok.clips import import_pyav
from dcs_tok.data.sources import readable


class ClipFrames:
    """A clip whose frames are read by their number, at a constant rate.

    Where time stamps are uneven, a frame stays until the next one, as on a screen.

    Attributes:
        rate: frames per second.
        frames: how many there are, by what the file says.
    """

    def __init__(self, container: Any, name: str) -> None:
        self._container, self._name = container, name
        self._is_fresh = True
        if not container.streams.video:
            raise ValueError("it holds no video")
        self._stream = container.streams.video[0]
        self._stream.codec_context.thread_count = 1  # loading has processes of its own
        rate = self._stream.average_rate or self._stream.guessed_rate
        if not rate:
            raise ValueError("it states no frame rate")
        self.rate = Fraction(rate)
        self.frames = max(1, self._stream.frames or round(self._seconds() * self.rate))

    def at(self, indices: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield the frames of ascending numbers as uint8 (3, H, W)."""
        with readable("clip", self._name):
            waiting = deque(indices)
            shown = None
            for index, frame in self._decoded_from(indices[0]):
                while shown is not None and waiting and waiting[0] < index:
                    yield waiting.popleft(), _to_tensor(shown)
                if shown is not None and (shown.height, shown.width) != (frame.height, frame.width):
                    raise ValueError("its frames change their size")
                shown = frame
                if not waiting or waiting[-1] <= index:
                    break
            if shown is None:
                raise ValueError("it holds no frames")
            for index in waiting:
                yield index, _to_tensor(shown)

    def _decoded_from(self, first: int) -> Iterator[tuple[int, Any]]:
        """Yield frames with their numbers, beginning at or before ``first`` where possible."""
        numbered = self._numbered()
        is_fresh, self._is_fresh = self._is_fresh, False
        if first == 0 and is_fresh:
            yield from numbered
            return
        for start in (first, 0):  # not every container can be sought in well
            ticks = int(start / self.rate / self._stream.time_base) + self._first_tick()
            self._container.seek(ticks, stream=self._stream)
            numbered = self._numbered()
            index, frame = next(numbered, (None, None))
            if index is not None and index <= first:
                break
        if frame is not None and index is not None:
            yield index, frame
        yield from numbered

    def _numbered(self) -> Iterator[tuple[int, Any]]:
        for frame in self._container.decode(self._stream):
            if frame.pts is None:
                raise ValueError("its frames have no time stamps")
            seconds = (frame.pts - self._first_tick()) * self._stream.time_base
            yield floor(seconds * self.rate + Fraction(1, 2)), frame

    def _first_tick(self) -> int:
        return self._stream.start_time or 0

    def _seconds(self) -> Fraction:
        if self._stream.duration is not None:
            return Fraction(self._stream.duration * self._stream.time_base)
        return Fraction(self._container.duration or 0, 1_000_000)


def _to_tensor(frame: Any) -> Tensor:
    return torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)


@contextmanager
def open_clip(open_file: Callable[[], IO[bytes]], name: str) -> Iterator[ClipFrames]:
    """Open a clip, and close it at the end.

    Args:
        open_file: opens a file that PyAV decodes.
        name: of the clip, for messages.

    Raises:
        ValueError: if PyAV is missing.
        UnreadableSampleError: if the clip is damaged, or states no frame rate.
    """
    av = import_pyav()
    with ExitStack() as stack:
        with readable("clip", name):
            file = stack.enter_context(open_file())
            clip = ClipFrames(stack.enter_context(av.open(file)), name)
        yield clip


def first_frame(open_file: Callable[[], IO[bytes]], name: str) -> Tensor:
    """Return the first frame of a clip as uint8 (3, H, W); arguments and errors as above."""
    with open_clip(open_file, name) as clip:
        return next(clip.at([0]))[1]
