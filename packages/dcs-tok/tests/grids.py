"""Grids of requests, laid by hand from the geometry, and maps from patches to pixels."""

from fractions import Fraction

import torch
from torch import Tensor

from dcs_common import Latents
from dcs_common.geometry import PatchGrid, Rate, exact_rate, frames_at_rate, segment_frames
from dcs_tok import DCSTok


def grid_of(
    tok: DCSTok, latents: Latents, size: tuple[int, int] | None = None, fps: Rate | None = None
) -> PatchGrid:
    """Return the grid on which ``latents`` are decoded at ``size`` and ``fps``."""
    segments, rows, columns = latents.grid
    per_second = tok.config.segments_per_second
    if latents.fps is None:
        spans = segment_frames(1, None, per_second)
    else:
        rate = latents.fps if fps is None else exact_rate(fps)
        frames = frames_at_rate(latents.frames, latents.fps, rate)
        spans = segment_frames(frames, rate, per_second, latents.phase, segments)
    return PatchGrid(latents.size if size is None else size, rows, columns, spans)


def over_pixels(per_patch: Tensor, grid: PatchGrid) -> Tensor:
    """Spread one value per patch (b, t, h, w) over its pixels: (b, T, H, W)."""
    frames = torch.tensor([span.stop - span.start for span in grid.spans])
    heights, widths = (torch.tensor(edges).diff() for edges in (grid.row_edges, grid.column_edges))
    spread = per_patch.repeat_interleave(frames, 1)
    return spread.repeat_interleave(heights, 2).repeat_interleave(widths, 3)


def as_clip(pixels: Tensor) -> Tensor:
    """View pictures as clips of one frame."""
    return pixels.unsqueeze(2) if pixels.ndim == 4 else pixels


def changed(first: Tensor, second: Tensor) -> Tensor:
    """Where pixels (b, 3, H, W) or (b, 3, T, H, W) differ at all: (b, T, H, W)."""
    return (as_clip(first) != as_clip(second)).any(dim=1)


def duration(frames: int, fps: Fraction | int) -> Fraction:
    """Seconds that a clip lasts."""
    return frames / Fraction(fps)
