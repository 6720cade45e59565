"""Classes where there is no data: each photo is one; crops or panned clips are its samples."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from dcs_common.atomic_file import whole_file
from dcs_common.resample import resize
from dcs_tok.clips import write_clip
from dcs_tok.data.sources import SampleOpener, find_samples
from sources.panning import panned_clip

_SMALLEST = 0.5
"""Least side of a crop, over the photo's short side."""
PATH_SECONDS = 2.0
"""How long a window takes from one end of its path to the other; clips are the ends of that."""


def crops(photo: Tensor, count: int, size: int, seed: int) -> list[Tensor]:
    """Return square crops (3, size, size) of a photo, at random places and of random scales.

    Args:
        photo: (3, H, W) in [0, 1].
        count: how many.
        size: pixels a side.
        seed: draws them.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = photo.shape[-2:]
    found = []
    for share, y, x in torch.rand(count, 3, generator=generator).tolist():
        side = round(min(height, width) * (_SMALLEST + (1 - _SMALLEST) * share))
        top, left = round(y * (height - side)), round(x * (width - side))
        cut = photo[:, top : top + side, left : left + side]
        found.append(resize(cut, (size, size)).clamp(0, 1))
    return found


def write_crops(
    sources: Sequence[Path], folder: Path, *, count: int, size: int, seed: int
) -> tuple[str, ...]:
    """Write crops of each photo into a folder of its own; return the classes.

    Their names hold the class, so that a table of captions can tell them apart.

    Args:
        sources: folders, zips or files of photos.
        folder: where the classes' folders go; what is there already is kept.
        count: of each photo.
        size: pixels a side.
        seed: draws them; the photo's place is mixed in.
    """
    classes = []
    for place, (name, photo) in enumerate(_photos(sources)):
        classes.append(name)
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, crop in enumerate(crops(photo, count, size, 1000 * seed + place)):
            path = folder / name / f"{name}-{number:03d}.png"
            if not path.exists():
                with whole_file(path) as temporary:
                    _image(crop).save(temporary)
    return tuple(classes)


def write_class_clips(
    sources: Sequence[Path],
    folder: Path,
    *,
    count: int,
    size: tuple[int, int],
    seconds: float,
    fps: int,
    seed: int,
) -> tuple[str, ...]:
    """Write clips panned over each photo into a folder of its own; return the classes.

    Args:
        sources: folders, zips or files of photos.
        folder: where the classes' folders go; what is there already is kept.
        count: of each photo, with paths of their own.
        size: (height, width).
        seconds, fps: of a clip, of :data:`PATH_SECONDS` at most.
        seed: draws the paths; photo and number are mixed in.

    Raises:
        ValueError: if PyAV is missing.
    """
    classes = []
    for place, (name, photo) in enumerate(_photos(sources)):
        classes.append(name)
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / name / f"{fps}fps-{number:03d}.mp4"
            if not path.exists():
                own = 100_000 * seed + 1000 * place + number
                clip = panned_clip(photo, seconds=PATH_SECONDS, fps=fps, size=size, seed=own)
                write_clip(path, clip[:, -round(seconds * fps) :], fps)
    return tuple(classes)


def _photos(sources: Sequence[Path]) -> list[tuple[str, Tensor]]:
    opener = SampleOpener()
    found = [
        (Path(sample.name).stem, opener.read_picture(sample).float() / 255)
        for sample in find_samples(sources, ("picture",))
    ]
    if not found:
        raise ValueError(
            f"There must be photos to cut classes from, but {[str(path) for path in sources]} hold "
            "none. Name others."
        )
    return found


def _image(pixels: Tensor) -> Image.Image:
    rounded = pixels.mul(255).round().byte().permute(1, 2, 0).contiguous()
    return Image.fromarray(rounded.numpy())
