"""Small data sets for the tests of training data."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dcs_common.training import Share
from dcs_tok.data import TrainingBatch

from .picture_files import encoded, noise

GREY_STEP = 5
"""Between neighbouring frames of a numbered clip."""
KEYFRAMES = 8
"""Every so-manyth frame of a numbered clip."""


def whole_steps(first: int, last: int, batch_size: int) -> list[Share]:
    """One share for each step."""
    return [Share(step, 0, batch_size, batch_size) for step in range(first, last)]


def picture_folder(folder: Path, count: int, height: int = 20, width: int = 23) -> Path:
    """Write pictures of noise in two folders; return the folder."""
    for i in range(count):
        path = folder / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(height, width, seed=i)).save(path)
    return folder


def zip_of(folder: Path, path: Path, compression: int = ZIP_STORED) -> Path:
    """Write a zip of all files below a folder, last name first; return its path."""
    with ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


def deflated(folder: Path, path: Path) -> Path:
    """Write a compressed zip."""
    return zip_of(folder, path, ZIP_DEFLATED)


def shard(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """Write a tar of files; return its path."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def picture_shards(folder: Path, count: int, samples: int) -> str:
    """Write shards of pictures with labels; return their pattern."""
    for i in range(count):
        members = []
        for j in range(samples):
            picture = Image.fromarray(noise(12, 13, seed=100 * i + j))
            members.append((f"{i}-{j}.cls", b"7"))
            members.append((f"{i}-{j}.png", encoded(picture, "PNG")))
        shard(folder / f"train-{i}.tar", members)
    return str(folder / f"train-{{0..{count - 1}}}.tar")


def numbered_clip(
    path: Path, frames: int, fps: int, *, times: Sequence[int] = (), codec: str = "libx264"
) -> Path:
    """Write a clip whose frame j is grey ``GREY_STEP * j + 8``; return its path.

    Args:
        times: when each frame is shown, in frames; at even distances by default.
    """
    with av.open(str(path), "w") as container:
        quality = {"crf": "4", "bf": "2"} if codec == "libx264" else {"qmin": "1", "qmax": "1"}
        stream = container.add_stream(codec, rate=fps, options={"g": str(KEYFRAMES), **quality})
        stream.height, stream.width, stream.pix_fmt = 16, 20, "yuv420p"
        for j, time in enumerate(times or range(frames)):
            grey = np.full((16, 20, 3), GREY_STEP * j + 8, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts = time
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers_of(clip: Tensor) -> list[int]:
    """Read the numbers of the frames of (3, T, H, W)."""
    greys = clip.mean(dim=(0, 2, 3)) * 255
    numbers = ((greys - 8) / GREY_STEP).round()
    torch.testing.assert_close(greys, GREY_STEP * numbers + 8, rtol=0, atol=2.2)
    return [int(number) for number in numbers]


def same(first: TrainingBatch, second: TrainingBatch) -> bool:
    """Tell whether two batches agree in all, exactly."""
    return (
        torch.equal(first.pixels, second.pixels)
        and torch.equal(first.target, second.target)
        and (first.fps, first.target_fps, first.patches, first.names, first.skipped)
        == (second.fps, second.target_fps, second.patches, second.names, second.skipped)
    )


def samples_of(batches: Sequence[TrainingBatch]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, input and target one by one."""
    for batch in batches:
        yield from zip(batch.names, batch.pixels, batch.target, strict=True)
