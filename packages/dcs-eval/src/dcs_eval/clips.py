"""Frames of a clip in a file: videos through PyAV, animated WebP through Pillow."""

from collections.abc import Callable, Collection, Iterable, Sequence
from fractions import Fraction
from functools import partial
from io import BytesIO
from itertools import accumulate, pairwise
from pathlib import PurePath
from types import ModuleType
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dcs_eval.eight_bit import to_pixels
from dcs_eval.protocols.clip_rule import ClipRule

_ANIMATION = ".webp"
_ROUNDING = Fraction(1, 1000)  # seconds: some containers keep whole milliseconds
CLIP_ENDINGS = frozenset(
    {_ANIMATION, ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".y4m"}
)


def frame_numbers(content: bytes, place: str, rule: ClipRule) -> tuple[int, ...]:
    """Return the numbers of a file's frames that make its clip, some more than once.

    Frames of a video are as far apart in time as its time stamps say; where these are missing or do
    not rise, and where rounding to a millisecond is all that tells them from it, as its rate says.
    An animated WebP tells times in milliseconds and joins neighbours that are equal: they are
    parted again, and it must play at the rule's own rate.

    Args:
        content: of the file.
        place: where it is, for messages. Its ending tells an animated WebP.
        rule: how clips are taken.

    Raises:
        ValueError: if it cannot be read, is too short, or needs PyAV, which is not installed.
    """
    if _is_animation(place):
        ends = _animated(content, place, _ends)
        shown = _parted(ends, place, rule.fps)
        return tuple(shown[i] for i in rule.indices(len(shown), rule.fps, what=place))
    times, fps = _decoded(content, place, _timing)
    if not times or not fps:
        raise ValueError(
            f"A clip must hold frames at a known rate, but {place} holds {len(times)} frames at "
            f"{fps or 'no'} fps. Leave it out."
        )
    uneven = _uneven(times, Fraction(fps))
    if uneven is not None:
        return rule.indices_at(uneven, what=place)
    return rule.indices(len(times), Fraction(fps), what=place)


def read_frames(content: bytes, place: str, numbers: Sequence[int]) -> Tensor:
    """Return frames (1, 3, T, H, W) in [0, 1] of a file, by their numbers.

    Raises:
        ValueError: if it cannot be read, or its frames have several sizes or are transparent.
    """
    if _is_animation(place):
        found = _animated(content, place, partial(_drawn, numbers=set(numbers)))
    else:
        found = _decoded(content, place, partial(_pictures, numbers=set(numbers)))
    sizes = sorted({tuple(frame.shape[-2:]) for frame in found.values()})
    if len(sizes) != 1 or len(found) != len(set(numbers)):
        said = " and ".join(f"{width}x{height}" for height, width in sizes)
        raise ValueError(
            f"A clip must hold its frames at one size, but {place} has {len(found)} of "
            f"{len(set(numbers))} frames, at {said or 'none'}. Cut it, or leave it out."
        )
    return torch.stack([found[number] for number in numbers], dim=2)


def import_pyav() -> ModuleType:
    """Return PyAV.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        import av
    except ImportError:
        raise ValueError(
            "Videos need PyAV, but it is not installed. Install it with "
            "`pip install 'dcs-eval[video]'`."
        ) from None
    return av


def _is_animation(place: str) -> bool:
    return PurePath(place).suffix.lower() == _ANIMATION


def _decoded(content: bytes, place: str, read: Callable[[Any, Iterable[Any]], Any]) -> Any:
    """Return what is read from the first video stream of a file and its frames."""
    av = import_pyav()
    try:
        with av.open(BytesIO(content)) as container:
            if container.streams.video:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                return read(stream, container.decode(stream))
    except av.error.FFmpegError as error:
        raise ValueError(
            f"The input must be a whole clip that PyAV can read, but {place} is not "
            f"({error.strerror}). Convert it, or check that it was copied completely."
        ) from None
    raise ValueError(f"A clip must hold a video stream, but {place} holds none. Leave it out.")


def _timing(stream: Any, frames: Iterable[Any]) -> tuple[list[Fraction | None], Fraction | None]:
    """Return the time of every frame in seconds, as far as the file says it, and the rate."""
    times = [
        None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
        for frame in frames
    ]
    return times, stream.average_rate or stream.guessed_rate


def _uneven(times: Sequence[Fraction | None], fps: Fraction) -> list[Fraction] | None:
    """Return times that rise, but not as the rate says; None if they say no more than it."""
    known = [time for time in times if time is not None]
    if len(known) < len(times) or any(later <= time for time, later in pairwise(known)):
        return None
    off = (abs(time - known[0] - n / fps) for n, time in enumerate(known))
    return known if max(off) > _ROUNDING else None


def _pictures(stream: Any, frames: Iterable[Any], *, numbers: Collection[int]) -> dict[int, Tensor]:
    found = {}
    for number, frame in enumerate(frames):
        if number in numbers:
            found[number] = to_pixels(frame.to_image())
            if len(found) == len(numbers):
                break
    return found


class _TransparentError(Exception):
    """A frame can be seen through."""


def _animated(content: bytes, place: str, read: Callable[[Image.Image], Any]) -> Any:
    """Return what is read from an animated picture."""
    try:
        with Image.open(BytesIO(content)) as image:
            return read(image)
    except _TransparentError:
        raise ValueError(
            f"Clips must have no transparency, but {place} is {image.mode}. Convert it to RGB."
        ) from None
    except Exception as error:  # a damaged file can raise nearly anything in Pillow's plugins
        # Pillow names a file in memory by its address.
        unknown = isinstance(error, UnidentifiedImageError)
        raise ValueError(
            f"The input must be a whole clip that Pillow can read, but {place} is not "
            f"({'it knows no such format' if unknown else error}). Convert it, or check that it "
            "was copied completely."
        ) from None


def _opaque(image: Image.Image) -> Image.Image:
    """Return a frame in RGB.

    An encoder may store what changes alone, laid over the frame before: the file then has a channel
    of transparency, but its frames, as they are shown, need not have any.

    Raises:
        _TransparentError: if it can be seen through.
    """
    if image.mode == "RGB":
        return image
    whole = image.convert("RGBA")
    if whole.getchannel("A").getextrema() != (255, 255):
        raise _TransparentError
    return whole.convert("RGB")


def _ends(image: Image.Image) -> list[int]:
    """Return when each frame ends, in milliseconds."""
    durations = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        _opaque(image)
        image.load()
        durations.append(image.info.get("duration", 0))
    return list(accumulate(durations))


def _drawn(image: Image.Image, *, numbers: Collection[int]) -> dict[int, Tensor]:
    found = {}
    for number in sorted(numbers):
        image.seek(number)
        found[number] = to_pixels(_opaque(image))
    return found


def _parted(ends: Sequence[int], place: str, fps: Fraction) -> list[int]:
    """Return the number of the frame that is shown at each of ``fps`` times a second."""
    shown: list[int] = []
    for number, end in enumerate(ends):
        exact = end * fps / 1000
        count = round(exact)
        if count <= len(shown) or abs(count - exact) * 1000 > fps:  # off by more than 1 ms
            raise ValueError(
                f"An animated WebP must play at {fps} frames per second, but frame {number} "
                f"of {place} ends after {end} ms. Make it anew at that rate."
            )
        shown += [number] * (count - len(shown))
    return shown
