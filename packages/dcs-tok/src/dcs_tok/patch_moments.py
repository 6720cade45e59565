"""Second moments of canonical patches, gathered from pictures and clips in bounded memory.

Everything that a linear code of patches depends on is in these moments: its error at any level,
and therefore the code itself (:mod:`dcs_tok.klt`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcs_common.geometry import PatchGrid, patches_of_side, source_grid
from dcs_common.resample import resize
from dcs_tok.canonical_patch import to_canonical
from dcs_tok.clips import import_pyav
from dcs_tok.data.sources import PICTURE_ENDINGS, SampleOpener, find_samples

MIDDLE = 0.5
"""Subtracted from all values, so that float32 products keep small variances."""
MAX_WAITING = 4096
"""Patches gathered before their outer products are summed up."""
DETAIL_FLOOR = 1e-4
"""Added to a picture's detail (mean squared step between neighbours), so that none is zero."""


@dataclass
class PatchMoments:
    """Weighted first and second moments of canonical patches of one kind.

    Attributes:
        frames: 1 for pictures, F for clips.
        grid: side of the canonical patch.
        weight: sum of the weights of all patches.
        total: weighted sum of the patches less ``MIDDLE``, (frames * grid * grid * 3,), float64.
        outer: weighted sum of the outer products of the same, float64. Patches wait before they
            come into it; :meth:`about` sees to that.
    """

    frames: int
    grid: int
    weight: float = 0.0
    total: Tensor = field(init=False)
    outer: Tensor = field(init=False)
    _waiting: list[Tensor] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        size = self.frames * self.grid**2 * 3
        self.total = torch.zeros(size, dtype=torch.float64)
        self.outer = torch.zeros(size, size, dtype=torch.float64)

    @property
    def mean(self) -> Tensor:
        """Mean patch, flat."""
        return MIDDLE + self.total / self.weight

    def about(self, center: Tensor) -> Tensor:
        """Return the second moment about ``center``; about the mean it is the covariance."""
        self.flush()
        center = center - MIDDLE
        shift = torch.outer(center, self.total / self.weight)
        return self.outer / self.weight - shift - shift.T + torch.outer(center, center)

    def add(self, patches: Tensor, times: tuple[Fraction, ...], weight: float) -> None:
        """Add patches (p, f, h, w, 3) of one shape, each with ``weight``."""
        canonical = to_canonical(patches, times, self.frames, self.grid)
        if self.frames > 1 and canonical.shape[1] == 1:
            canonical = canonical.expand(-1, self.frames, -1, -1, -1)
        flat = canonical.flatten(1) - MIDDLE
        self.weight += weight * len(patches)
        self.total += weight * flat.sum(dim=0).double()
        self._waiting.append(weight**0.5 * flat)
        if sum(len(part) for part in self._waiting) >= MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Bring patches that wait for a large matrix product into ``outer``."""
        if self._waiting:
            flat = torch.cat(self._waiting)
            self.outer += flat.T @ flat
            self._waiting.clear()


def detail(pixels: Tensor) -> float:
    """Return the mean squared step between neighbouring pixels of (..., H, W).

    What a short linear code leaves of a picture is proportional to it, nearly. Patches are
    weighted by its inverse: that minimises the mean over pictures of the *logarithm* of the error
    (mean PSNR), where unweighted moments would let the few most detailed pictures decide.
    """
    vertical = pixels.diff(dim=-2).square().mean() if pixels.shape[-2] > 1 else torch.zeros(())
    horizontal = pixels.diff(dim=-1).square().mean() if pixels.shape[-1] > 1 else torch.zeros(())
    return float(vertical + horizontal)


def read_pictures(sources: Sequence[Path]) -> Iterator[Tensor]:
    """Yield all pictures of folders, zips and files, by name: uint8 (3, H, W)."""
    opener = SampleOpener()
    for sample in find_samples(sources, ["picture"]):
        yield opener.read_picture(sample)


@dataclass(frozen=True)
class ClipSource:
    """Frames ``start`` to ``stop`` (None: the end) of a file that PyAV reads."""

    path: Path
    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> "ClipSource":
        """Read ``clip.mp4`` or ``clip.mp4@start:stop``."""
        path, at, span = text.rpartition("@")
        if not at:
            return cls(Path(text))
        start, colon, stop = span.partition(":")
        if not (colon and start.isdecimal() and stop.isdecimal()):
            raise ValueError(
                f"A clip must be FILE or FILE@START:STOP, but is {text!r}. "
                "Give the first frame and the one after the last, such as clip.mp4@0:600."
            )
        return cls(Path(path), int(start), int(stop))


def read_clip(
    clip: ClipSource, *, seconds: float = 1.0, min_fps: float = 0.0, stride: int = 1
) -> Iterator[tuple[Tensor, Fraction]]:
    """Yield a clip's frames in runs of ``seconds``, and their rate.

    Args:
        clip: what to read.
        seconds: length of a run; an incomplete last run is dropped unless it is the only one.
        stride: take every so-manyth frame; the rate falls accordingly.
        min_fps: where ``stride`` would bring the rate below this, every frame is taken.

    Yields:
        uint8 (T, 3, H, W) and frames per second.
    """
    av = import_pyav()
    try:
        yield from _decode_runs(av.open(str(clip.path)), clip, seconds, min_fps, stride)
    except av.error.FFmpegError as error:
        raise ValueError(
            f"Every clip must be readable, but {str(clip.path)!r} is not: {error}. Name another."
        ) from error


def _decode_runs(
    opened: Any, clip: ClipSource, seconds: float, min_fps: float, stride: int
) -> Iterator[tuple[Tensor, Fraction]]:
    with opened as container:
        if not container.streams.video:
            raise ValueError(
                f"A clip must hold a video stream, but {str(clip.path)!r} holds none. Name another."
            )
        stream = container.streams.video[0]
        if stream.average_rate is None:
            raise ValueError(
                f"A clip needs its frame rate, but {str(clip.path)!r} states none. "
                "Write it again with one."
            )
        step = stride if stream.average_rate / stride >= min_fps else 1
        fps = stream.average_rate / step
        length = max(1, round(seconds * fps))
        run: list[Tensor] = []
        runs = 0
        for index, frame in enumerate(container.decode(stream)):
            if clip.stop is not None and index >= clip.stop:
                break
            if index < clip.start or (index - clip.start) % step:
                continue
            run.append(torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1))
            if len(run) == length:
                yield torch.stack(run), fps
                run = []
                runs += 1
        if run and not runs:
            yield torch.stack(run), fps


def to_short_side(pixels: Tensor, short_side: int | None) -> Tensor:
    """Return uint8 (..., H, W) as float in [0, 1], reduced to ``short_side``; never enlarged."""
    values = pixels.float() / 255
    height, width = values.shape[-2:]
    short = min(height, width)
    if short_side is None or short <= short_side:
        return values
    size = (round(height * short_side / short), round(width * short_side / short))
    return resize(values, size, alignment="center")


def add_sampled(
    moments: PatchMoments,
    pixels: Tensor,
    grid: PatchGrid,
    max_patches: int,
    generator: torch.Generator,
) -> None:
    """Add about ``max_patches`` patches of (3, T, H, W), drawn evenly over the grid."""
    weight = 1 / (detail(pixels) + DETAIL_FLOOR)
    share = max_patches / (grid.shape[0] * grid.rows * grid.columns)
    for group in grid.groups:
        patches = grid.take(pixels[None], group)[0]
        if share < 1:
            count = max(1, round(share * len(patches)))
            patches = patches[torch.randperm(len(patches), generator=generator)[:count]]
        moments.add(patches, group.times, weight)


def picture_moments(
    sources: Sequence[Path],
    *,
    grid: int,
    patches: int | None = None,
    patch_pixels: int | None = None,
    short_side: int | None = None,
    max_patches: int = 400,
) -> PatchMoments:
    """Gather the moments of pictures cut into ``patches`` along their short side.

    With ``patch_pixels`` in its place, into patches of so many pixels a side.

    Raises:
        ValueError: unless one of both is given, or if there is no picture.
    """
    if (patches is None) == (patch_pixels is None):
        raise ValueError(
            "One of `patches` and `patch_pixels` must be given, but they are "
            f"{patches} and {patch_pixels}. Leave the other out."
        )
    moments = PatchMoments(1, grid)
    generator = torch.Generator().manual_seed(0)
    for picture in read_pictures(sources):
        pixels = to_short_side(picture, short_side)[:, None]
        size = (pixels.shape[-2], pixels.shape[-1])
        k = patches or patches_of_side(min(size), patch_pixels or 1)
        cut = source_grid(size, 1, None, patches=k, segments_per_second=1)
        add_sampled(moments, pixels, cut, max_patches, generator)
    if not moments.weight:
        raise ValueError(
            f"The sources must hold a picture, but {[str(path) for path in sources]} hold none "
            f"of {', '.join(PICTURE_ENDINGS)}. Name others."
        )
    return moments


def clip_moments(
    clips: Sequence[ClipSource],
    *,
    patches: int,
    frames: int,
    grid: int,
    segments_per_second: int,
    short_side: int | None = None,
    stride: int = 1,
    max_patches: int = 800,
) -> PatchMoments:
    """Gather the moments of clips; ``max_patches`` counts per second of a clip.

    Clips that ``stride`` would leave with fewer than two frames per segment keep their own rate.
    """
    moments = PatchMoments(frames, grid)
    generator = torch.Generator().manual_seed(0)
    for clip in clips:
        for run, fps in read_clip(clip, min_fps=2 * segments_per_second, stride=stride):
            pixels = to_short_side(run, short_side).transpose(0, 1).contiguous()
            size = (pixels.shape[-2], pixels.shape[-1])
            cut = source_grid(
                size, len(run), fps, patches=patches, segments_per_second=segments_per_second
            )
            add_sampled(moments, pixels, cut, max_patches, generator)
    if not moments.weight:
        raise ValueError(
            f"The clips must hold frames, but {[str(clip.path) for clip in clips]} hold none in "
            "the ranges that are asked for. Give other ranges."
        )
    return moments
