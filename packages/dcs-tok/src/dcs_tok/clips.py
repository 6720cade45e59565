"""Reading and writing clips through PyAV (the ``video`` extra)."""

from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from dcs_common.atomic_file import check_folder_of, whole_file
from dcs_common.geometry import Rate, exact_rate

CLIP_ENDINGS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".y4m")
WRITABLE_ENDINGS = (".mp4", ".mkv", ".mov")
DEFAULT_CEILING = 4 * 2**30


def is_clip(path: str | PathLike[str]) -> bool:
    """Tell by its ending whether a file is a clip."""
    return Path(path).suffix.lower() in CLIP_ENDINGS


def import_pyav() -> ModuleType:
    """Return PyAV.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        import av
    except ImportError:
        raise ValueError(
            "Clips need PyAV, but it is not installed. Install it with "
            "`pip install 'dcs-tok[video]'`."
        ) from None
    return av


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames of a clip.

    Attributes:
        pixels: (1, 3, T, H, W) float16 in [0, 1]; 8-bit values survive in it.
        fps: exact frames per second.
    """

    pixels: Tensor
    fps: Fraction


def read_clip(
    path: str | PathLike[str],
    first: int = 0,
    stop: int | None = None,
    *,
    ceiling: int = DEFAULT_CEILING,
) -> Clip:
    """Read frames ``first`` to ``stop`` of a clip's first video stream.

    Args:
        path: any file that PyAV decodes.
        first, stop: frame numbers, as for a slice.
        ceiling: most bytes that the frames may take in memory.

    Raises:
        ValueError: if PyAV or the file is missing, it holds no readable video, or the frames
            exceed the ceiling.
    """
    av = import_pyav()
    if not Path(path).is_file():
        raise ValueError(f"A clip must exist, but {path} does not. Check the path.")
    frames: list[Tensor] = []
    held = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(
                    f"A clip must hold a video stream, but {path} holds none. Check the file."
                )
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            fps = stream.average_rate or stream.guessed_rate
            for number, frame in enumerate(container.decode(stream)):
                if stop is not None and number >= stop:
                    break
                if number < first:
                    continue
                array = torch.from_numpy(frame.to_ndarray(format="rgb24"))
                held += 2 * array.numel()
                if held > ceiling:
                    raise ValueError(
                        f"A clip's frames must fit into {ceiling // 2**20} MiB, but {path} "
                        f"exceeds them after {len(frames)} frames. Give a range of frames."
                    )
                frames.append(array)
    except av.error.FFmpegError as error:
        raise ValueError(
            f"The input must be a whole clip that PyAV can read, but {path} is not ({error}). "
            "Convert it, or check that it was copied completely."
        ) from None
    if not frames or not fps:
        raise ValueError(
            f"A clip must hold frames {first} to {'its end' if stop is None else stop} at a known "
            f"rate, but {path} gave {len(frames)} frames at {fps} fps. Give another range."
        )
    height, width = frames[0].shape[:2]
    pixels = torch.empty(1, 3, len(frames), height, width, dtype=torch.float16)
    for i, frame in enumerate(frames):
        if frame.shape[:2] != (height, width):
            raise ValueError(
                f"All frames of a clip must have one size, but {path} changes at frame "
                f"{first + i}. Cut it there."
            )
        pixels[0, :, i] = frame.permute(2, 0, 1).float() / 255
    return Clip(pixels, exact_rate(Fraction(fps)))


def write_clip(path: str | PathLike[str], pixels: Tensor, fps: Rate) -> None:
    """Write pixels (3, T, H, W) in [0, 1] as H.264; the file appears when it is whole.

    Even sizes are stored with 4:2:0 chroma, which every player shows; odd sizes need 4:4:4.

    Raises:
        ValueError: if PyAV is missing, the ending or folder cannot be used, or H.264 cannot hold
            the size or rate.
    """
    av = import_pyav()
    path = check_clip_path(path)
    try:
        with whole_file(path) as temporary, av.open(str(temporary), "w") as container:
            stream = container.add_stream("libx264", rate=exact_rate(fps), options={"crf": "14"})
            stream.height, stream.width = pixels.shape[2:]
            even = not (stream.height % 2 or stream.width % 2)
            stream.pix_fmt = "yuv420p" if even else "yuv444p"
            for t in range(pixels.shape[1]):
                rounded = pixels[:, t].float().mul(255).round().clamp(0, 255).to(torch.uint8)
                array = rounded.permute(1, 2, 0).contiguous().cpu().numpy()
                container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
            container.mux(stream.encode())
    except (av.error.FFmpegError, OverflowError) as error:
        raise ValueError(
            f"A clip must be one that H.264 can hold, but {path} of {pixels.shape[3]}x"
            f"{pixels.shape[2]} pixels at {fps} fps is not ({error}). Ask for another size "
            "or rate."
        ) from None


def check_clip_path(path: str | PathLike[str]) -> Path:
    """Return the path of a clip to be written.

    Raises:
        ValueError: if its ending names no known container or its folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE_ENDINGS:
        raise ValueError(
            f"A clip's name must end in one of {', '.join(WRITABLE_ENDINGS)}, but is {path.name!r}."
        )
    return check_folder_of(path)
