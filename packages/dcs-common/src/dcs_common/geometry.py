"""Patches of any size and segments of any rate (Eq. 1, Sec. 6.2, Fig. 14).

A picture of ``height x width`` pixels is cut into ``rows x columns`` patches, a clip also into
``segments`` in time. How many there are depends on the content's shape and duration alone;
the scale (resolution, frame rate) only decides how many pixels and frames each of them holds.

Space: the short side holds k patches, the long side ``round(k * long / short)`` (half up); patch
edges are ``round(i * extent / count)``, so patch sizes differ by at most one pixel.

Time, everything in exact rationals: frame j of t frames at f frames per second lies
``a = (t - 1 - j) * k_t / f + phase`` segments before the end of the last segment. It belongs to
the segment ``floor(a)`` counted from the end and has the in-segment coordinate
``1 - frac(a)``. A clip's last frame is therefore at 1 (``phase = 0``, tail alignment, Fig. 14b).
A stream of unknown length fixes the phase so that its *first* segment is full.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import ceil, floor

import torch
from torch import Tensor

Rate = int | float | str | Fraction


def exact_rate(fps: Rate) -> Fraction:
    """Return a frame rate as an exact rational.

    Floats are read as the nearest fraction with a denominator up to 100000, so that 29.97 is
    2997/100 and 30000 / 1001 is 30000/1001.

    Raises:
        ValueError: if the rate is not a positive finite number.
    """
    try:
        rate = Fraction(fps)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        rate = Fraction(0)
    if isinstance(fps, float):
        rate = rate.limit_denominator(100_000)
    if rate <= 0:
        raise ValueError(
            f"`fps` must be a positive frame rate, but is {fps!r}. "
            "Give frames per second as a number or a fraction such as '30000/1001'."
        )
    return rate


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def patch_counts(size: tuple[int, int], patches: int) -> tuple[int, int]:
    """Return (rows, columns) for a picture of ``size`` (height, width) and k ``patches``.

    Raises:
        ValueError: if the short side has fewer pixels than patches.
    """
    height, width = size
    short = min(height, width)
    if patches < 1:
        raise ValueError(f"`patches` must be at least 1, but is {patches}.")
    if short < patches:
        raise ValueError(
            f"The shorter side must have at least one pixel per patch, but {width}x{height} has "
            f"{short} pixels for {patches} patches. Enlarge the picture or lower `patches`."
        )
    return _round_half_up(patches * height, short), _round_half_up(patches * width, short)


def patches_of_side(short_side: int, patch_pixels: int) -> int:
    """Return k for patches of about ``patch_pixels`` a side: rounded half up, at least 1."""
    return max(1, _round_half_up(short_side, patch_pixels))


def patch_edges(extent: int, count: int) -> tuple[int, ...]:
    """Return the ``count + 1`` pixel edges of ``count`` patches over ``extent`` pixels."""
    return tuple(_round_half_up(i * extent, count) for i in range(count + 1))


def frames_at_rate(frames: int, fps: Fraction, target_fps: Fraction) -> int:
    """Return how many frames ``frames`` at ``fps`` become at ``target_fps``."""
    return max(1, ceil(frames * target_fps / fps))


@dataclass(frozen=True, slots=True)
class Segment:
    """One temporal patch: frames ``start`` to ``stop`` and their coordinates in [0, 1]."""

    start: int
    stop: int
    times: tuple[Fraction, ...]


def start_anchored_phase(frames: int, fps: Fraction, segments_per_second: int) -> Fraction:
    """Return the phase that makes the first segment a full one (streams of unknown length)."""
    end = frames * segments_per_second / fps
    return ceil(end) - end


def segment_frames(
    frames: int,
    fps: Fraction | None,
    segments_per_second: int,
    phase: Fraction = Fraction(0),
    segments: int | None = None,
) -> tuple[Segment, ...]:
    """Assign frames to segments, first segment first.

    With ``segments`` given (decoding at another rate), frames that would fall before the first
    segment are read at its beginning, coordinate 0. A lower rate may step over a partial first
    segment, which then has no frames.

    Raises:
        ValueError: if the rate is below ``segments_per_second``, ``phase`` is outside [0, 1), or
            frames and rate do not fit ``segments``.
    """
    if frames < 1:
        raise ValueError(f"`frames` must be at least 1, but is {frames}.")
    if fps is None:
        if frames != 1:
            raise ValueError(
                f"A clip needs its frame rate, but `fps` is None for {frames} frames. Pass `fps`."
            )
        return (Segment(0, 1, (Fraction(1),)),)
    if fps < segments_per_second:
        raise ValueError(
            f"`fps` must be at least {segments_per_second} (one frame per segment), but is "
            f"{float(fps):g}. Use a rate of {segments_per_second} or more, or a model with fewer "
            "segments per second."
        )
    if not 0 <= phase < 1:
        raise ValueError(
            f"`phase` must be a part of a segment in [0, 1), but is {phase}. "
            "Take it from `start_anchored_phase`, or leave it out."
        )
    oldest = (frames - 1) * segments_per_second / fps + phase
    total = floor(oldest) + 1 if segments is None else segments
    if not total - 2 <= floor(oldest) <= total:
        raise ValueError(
            f"The frames must fit the {total} segments, but {frames} frames at {float(fps):g} fps "
            f"make {floor(oldest) + 1}. Correct the number of frames or the rate."
        )
    ages = [(frames - 1 - j) * segments_per_second / fps + phase for j in range(frames)]
    members: list[list[tuple[int, Fraction]]] = [[] for _ in range(total)]
    for frame, age in enumerate(ages):
        if age >= total:
            members[0].append((frame, Fraction(0)))
        else:
            members[total - 1 - floor(age)].append((frame, 1 - (age - floor(age))))
    if not members[0]:
        return Segment(0, 0, ()), *map(_span, members[1:])
    return tuple(map(_span, members))


def _span(members: list[tuple[int, Fraction]]) -> Segment:
    return Segment(members[0][0], members[-1][0] + 1, tuple(time for _, time in members))


@dataclass(frozen=True)
class PatchGroup:
    """Patches of one grid that have the same pixel shape and the same frame times.

    Attributes:
        segments, rows, columns: grid indices; the group is their product.
        height, width: pixels of each patch.
        times: in-segment coordinates of the frames.
    """

    segments: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    height: int
    width: int
    times: tuple[Fraction, ...]

    @property
    def num_patches(self) -> int:
        """Number of patches of one sample in this group."""
        return len(self.segments) * len(self.rows) * len(self.columns)

    @property
    def pixels_per_patch(self) -> int:
        """Pixels, over all frames, of one patch."""
        return len(self.times) * self.height * self.width

    def split(self, max_patches: int) -> Iterator["PatchGroup"]:
        """Yield parts of at most ``max_patches`` patches (at least one), whole rows if possible."""
        columns_at_once = max(1, min(len(self.columns), max_patches))
        rows_at_once = max(1, max_patches // len(self.columns))
        for segment in range(len(self.segments)):
            for row in range(0, len(self.rows), rows_at_once):
                for column in range(0, len(self.columns), columns_at_once):
                    yield replace(
                        self,
                        segments=self.segments[segment : segment + 1],
                        rows=self.rows[row : row + rows_at_once],
                        columns=self.columns[column : column + columns_at_once],
                    )


@dataclass(frozen=True)
class PatchGrid:
    """A grid of patches laid over pixels of one size and rate.

    Attributes:
        size: (height, width) in pixels.
        rows, columns: patches in space.
        spans: segments in time.
    """

    size: tuple[int, int]
    rows: int
    columns: int
    spans: tuple[Segment, ...]

    def __post_init__(self) -> None:
        if self.size[0] < self.rows or self.size[1] < self.columns:
            raise ValueError(
                f"A grid of {self.columns}x{self.rows} patches needs at least one pixel per patch, "
                f"but the size is {self.size[1]}x{self.size[0]}. "
                "Ask for a larger size or use fewer `patches`."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(segments, rows, columns)."""
        return len(self.spans), self.rows, self.columns

    @property
    def num_frames(self) -> int:
        """Frames over all segments."""
        return self.spans[-1].stop

    @cached_property
    def row_edges(self) -> tuple[int, ...]:
        """Pixel edges of the patch rows."""
        return patch_edges(self.size[0], self.rows)

    @cached_property
    def column_edges(self) -> tuple[int, ...]:
        """Pixel edges of the patch columns."""
        return patch_edges(self.size[1], self.columns)

    @cached_property
    def groups(self) -> tuple[PatchGroup, ...]:
        """Groups of equal patches; together they cover every pixel exactly once."""

        def by_extent(edges: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
            found: dict[int, list[int]] = {}
            for i in range(len(edges) - 1):
                found.setdefault(edges[i + 1] - edges[i], []).append(i)
            return {extent: tuple(members) for extent, members in found.items()}

        by_times: dict[tuple[Fraction, ...], list[int]] = {}
        for i, span in enumerate(self.spans):
            if span.times:
                by_times.setdefault(span.times, []).append(i)
        return tuple(
            PatchGroup(tuple(segments), rows, columns, height, width, times)
            for times, segments in by_times.items()
            for height, rows in by_extent(self.row_edges).items()
            for width, columns in by_extent(self.column_edges).items()
        )

    def patch_index(self, group: PatchGroup) -> Tensor:
        """Return the flat (segment, row, column) grid index of each patch of a group."""
        segments, rows, columns = (
            torch.tensor(indices) for indices in (group.segments, group.rows, group.columns)
        )
        index = (segments[:, None, None] * self.rows + rows[:, None]) * self.columns + columns
        return index.flatten()

    def take(self, pixels: Tensor, group: PatchGroup) -> Tensor:
        """Cut the patches of one group out of a batch of clips.

        Args:
            pixels: (b, c, T, H, W).
            group: a group of this grid, or a part of one.

        Returns:
            (b, patches, frames, height, width, c), patches in grid order.
        """
        frames, rows, columns = self._pixel_indices(group)
        block = _select(_select(_select(pixels, 2, frames), 3, rows), 4, columns)
        b, c = block.shape[:2]
        s, r, f = len(group.segments), len(group.rows), len(group.times)
        block = block.reshape(b, c, s, f, r, group.height, len(group.columns), group.width)
        block = block.permute(0, 2, 4, 6, 3, 5, 7, 1)
        return block.reshape(b, group.num_patches, f, group.height, group.width, c)

    def put(self, pixels: Tensor, group: PatchGroup, patches: Tensor) -> None:
        """Write patches (as :meth:`take` returns them) into ``pixels`` (b, c, T, H, W) in place."""
        frames, rows, columns = self._pixel_indices(group)
        block = self._to_block(group, patches)
        whole_rows = len(columns) == pixels.shape[4] and _is_range(columns)
        for i in range(len(group.segments)):
            f = len(group.times)
            target = pixels[:, :, frames[i * f] : frames[i * f] + f]
            source = block[:, :, i * f : i * f + f]
            for j in range(len(group.rows)):
                y = j * group.height
                strip = target[:, :, :, rows[y] : rows[y] + group.height]
                part = source[:, :, :, y : y + group.height]
                if whole_rows:
                    strip.copy_(part)
                else:
                    strip.index_copy_(4, torch.tensor(columns, device=pixels.device), part)

    def assemble(self, parts: list[tuple[PatchGroup, Tensor]]) -> Tensor:
        """Join the patches of all groups into (b, c, T, H, W); differentiable.

        Args:
            parts: groups (or parts of groups) that cover the grid once, with their patches.
        """
        if len(parts) == 1:
            return self._to_block(*parts[0])
        b, c = parts[0][1].shape[0], parts[0][1].shape[-1]
        extent = (self.num_frames, *self.size)
        flat = torch.arange(extent[0] * extent[1] * extent[2]).view(1, 1, *extent)
        order = torch.cat([self.take(flat, group).flatten() for group, _ in parts])
        values = torch.cat([patches.reshape(b, -1, c) for _, patches in parts], dim=1)
        position = torch.empty_like(order)
        position[order] = torch.arange(len(order))
        joined = values.index_select(1, position.to(values.device))
        return joined.view(b, *extent, c).permute(0, 4, 1, 2, 3)

    def _to_block(self, group: PatchGroup, patches: Tensor) -> Tensor:
        """(b, patches, f, h, w, c) to (b, c, segments*f, rows*h, columns*w)."""
        b, _, f, height, width, c = patches.shape
        s, r, q = len(group.segments), len(group.rows), len(group.columns)
        block = patches.view(b, s, r, q, f, height, width, c).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return block.reshape(b, c, s * f, r * height, q * width)

    def _pixel_indices(self, group: PatchGroup) -> tuple[list[int], list[int], list[int]]:
        frames = [
            frame
            for i in group.segments
            for frame in range(self.spans[i].start, self.spans[i].stop)
        ]
        rows = [y for i in group.rows for y in range(self.row_edges[i], self.row_edges[i + 1])]
        columns = [
            x for i in group.columns for x in range(self.column_edges[i], self.column_edges[i + 1])
        ]
        return frames, rows, columns


def _is_range(indices: list[int]) -> bool:
    return indices[-1] - indices[0] + 1 == len(indices)


def _select(tensor: Tensor, dim: int, indices: list[int]) -> Tensor:
    """Select ascending indices, as a view when they are contiguous."""
    if _is_range(indices):
        return tensor.narrow(dim, indices[0], len(indices))
    return tensor.index_select(dim, torch.tensor(indices, device=tensor.device))


def source_grid(
    size: tuple[int, int],
    frames: int,
    fps: Fraction | None,
    *,
    patches: int,
    segments_per_second: int,
    phase: Fraction = Fraction(0),
) -> PatchGrid:
    """Lay the grid of Eq. 1 over a picture or clip that is to be encoded."""
    rows, columns = patch_counts(size, patches)
    return PatchGrid(size, rows, columns, segment_frames(frames, fps, segments_per_second, phase))
