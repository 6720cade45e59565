"""Which frames of a video a protocol takes: published FVDs differ by this more than by models."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRule:
    """How clips are taken from videos.

    A video is resampled first: frame i at ``fps`` is the source's frame nearest in time to
    ``i / fps``, the later of two equally near. From the result one stretch of ``frames`` frames is
    taken: with ``choice`` "centre" the one whose ends are equally far from those of the video, one
    frame nearer to the start where that is not possible.

    Attributes:
        frames: of a clip.
        fps: frames per second of a clip.
        choice: which stretch of a video.
    """

    frames: int
    fps: Fraction
    choice: str = "centre"

    def indices(self, count: int, fps: Fraction, *, what: str = "a video") -> tuple[int, ...]:
        """Return the numbers of a video's frames that make its clip.

        Args:
            count: frames of the video.
            fps: its rate.
            what: the video, for the message.

        Raises:
            ValueError: if the video is too short.
        """
        resampled = [
            source
            for i in range(ceil(count * self.fps / fps))
            if (source := _nearest(i * fps / self.fps)) < count
        ]
        return self._stretch(resampled, f"{what} of {count} frames at {fps} fps")

    def indices_at(self, times: Sequence[Fraction], *, what: str = "a video") -> tuple[int, ...]:
        """Return the numbers of frames that make a clip of a video whose rate varies.

        The same as :meth:`indices` where frames are equally far apart: the last one is shown as
        long as the one before it.

        Args:
            times: in seconds, rising, of every frame; at least one.
            what: the video, for the message.

        Raises:
            ValueError: if the video is too short.
        """
        last = times[-1] - times[-2] if len(times) > 1 else 1 / self.fps
        # Of what is nearer to the video's end than to its last frame there is no frame.
        stamps = [*(time - times[0] for time in times), times[-1] - times[0] + last]
        resampled = []
        place = 0
        for i in range(ceil(stamps[-1] * self.fps)):
            time = i / self.fps
            while place < len(times) and stamps[place + 1] - time <= abs(time - stamps[place]):
                place += 1
            if place < len(times):
                resampled.append(place)
        seconds = float(stamps[-1])
        return self._stretch(resampled, f"{what} of {len(times)} frames in {seconds:g} s")

    def _stretch(self, resampled: Sequence[int], what: str) -> tuple[int, ...]:
        """Return the frames in the middle."""
        if len(resampled) < self.frames:
            raise ValueError(
                f"A clip takes {self.frames} frames at {self.fps} fps, but {what} gives "
                f"{len(resampled)}. Leave it out."
            )
        first = (len(resampled) - self.frames) // 2
        return tuple(resampled[first : first + self.frames])

    @property
    def text(self) -> str:
        """The rule in words."""
        return (
            f"the {self.choice} {self.frames} frames of each video, after taking the frame "
            f"nearest in time to each of {self.fps} per second"
        )


def _nearest(time: Fraction) -> int:
    """Return the nearest whole number, the larger of two."""
    return int(time + Fraction(1, 2))
