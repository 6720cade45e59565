"""Which frames of a video become clips: counted beforehand, so that a cache can be planned."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipChoice:
    """How clips are taken from a video.

    A video is resampled first: frame i at ``fps`` is the source's frame nearest in time to
    ``i / fps``, the later of two equally near, as ``dcs-eval`` takes it. From the result come
    ``clips`` stretches, spread evenly from its beginning to its end; one alone comes from the
    centre. They overlap where the video is short.

    Attributes:
        frames: of a clip.
        fps: frames per second of a clip.
        clips: of each video.
    """

    frames: int
    fps: int
    clips: int = 1

    def indices(self, count: int, fps: Fraction) -> tuple[tuple[int, ...], ...]:
        """Return the numbers of the frames that make each clip, some of them more than once.

        Args:
            count: frames of the video, taken to be equally far apart in time.
            fps: its rate.

        Raises:
            ValueError: if the video is too short.
        """
        resampled = [
            source
            for i in range(ceil(count * self.fps / fps))
            if (source := int(i * fps / self.fps + Fraction(1, 2))) < count
        ]
        room = len(resampled) - self.frames
        if room < 0:
            raise ValueError(
                f"it gives {len(resampled)} of {self.frames} frames at {self.fps} per second"
            )
        if self.clips == 1:
            starts = [room // 2]
        else:
            starts = [i * room // (self.clips - 1) for i in range(self.clips)]
        return tuple(tuple(resampled[first : first + self.frames]) for first in starts)
