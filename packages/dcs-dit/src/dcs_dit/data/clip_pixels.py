"""Pixels of a video's clips at one size, through PyAV (the extra ``dcs-dit[video]``)."""

import io
from collections.abc import Collection
from fractions import Fraction
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dcs_dit.data.clip_choice import ClipChoice
from dcs_dit.data.picture_pixels import covering_pixels


def import_pyav() -> ModuleType:
    """Return PyAV.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        import av
    except ImportError:
        raise ValueError(
            "Reading clips needs PyAV, but it is not installed. Install `dcs-dit[video]`."
        ) from None
    return av


def decode_clips(content: bytes, choice: ClipChoice, size: tuple[int, int]) -> Tensor:
    """Return the clips of a video's file: uint8 (clips, 3, T, height, width).

    Each frame is scaled and cropped as pictures are. Only frames that a clip takes are kept.

    Args:
        content: of the file.
        choice: which frames.
        size: (height, width).

    Raises:
        Exception: of nearly any kind, if the file is damaged, holds no video or is too short.
    """
    count, fps = _count_and_rate(content)
    try:
        return _clips(content, choice.indices(count, fps), size)
    except LookupError:
        # The file says that it has more frames than it has: count those that come.
        return _clips(content, choice.indices(_decoded(content), fps), size)


def _clips(content: bytes, indices: tuple[tuple[int, ...], ...], size: tuple[int, int]) -> Tensor:
    found = _frames(content, {number for clip in indices for number in clip}, size)
    return torch.stack([torch.stack([found[i] for i in clip], dim=1) for clip in indices])


def _count_and_rate(content: bytes) -> tuple[int, Fraction]:
    """Return the frames of a video, by what the file says or else by decoding, and its rate."""
    with import_pyav().open(io.BytesIO(content)) as container:
        stream = _stream(container)
        rate, count = stream.average_rate or stream.guessed_rate, stream.frames
    if not rate:
        raise ValueError("it states no frame rate")
    return count or _decoded(content), Fraction(rate)


def _decoded(content: bytes) -> int:
    with import_pyav().open(io.BytesIO(content)) as container:
        return sum(1 for _ in container.decode(_stream(container)))


def _frames(content: bytes, numbers: Collection[int], size: tuple[int, int]) -> dict[int, Tensor]:
    """Return frames (3, height, width) by their numbers; those that do not come are missing."""
    found = {}
    with import_pyav().open(io.BytesIO(content)) as container:
        for number, frame in enumerate(container.decode(_stream(container))):
            if number in numbers:
                found[number] = covering_pixels(frame.to_image(), size)
                if len(found) == len(numbers):
                    break
    return found


def _stream(container: Any) -> Any:
    if not container.streams.video:
        raise ValueError("it holds no video")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream
