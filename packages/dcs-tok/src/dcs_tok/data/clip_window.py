"""Two scales of a window of a clip, of which nothing else is decoded and kept.

Decoding begins at the last keyframe before the window. Each frame is brought to the scales that
need it as soon as it is there, so that memory is bounded by the pair itself, however long the clip
is and however large its frames are.
"""

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import IO

import torch
from torch import Tensor

from dcs_common.resample import tail_aligned_frames
from dcs_tok.data.clip_frames import open_clip
from dcs_tok.data.geometry import BatchGeometry, ScaleConfig
from dcs_tok.data.pairs import Region, at_scale, draw_region


def frames_before_last(frames: int, fps: Fraction, source_fps: Fraction) -> tuple[int, ...]:
    """Return how many source frames each frame at ``fps`` lies before the last one.

    Tail alignment (Fig. 14b): the last of ``frames`` is the source's last, the others are the
    nearest source frames. They repeat where ``fps`` is above the source's rate.
    """
    # More source frames than are needed, so that the first ones are not clamped to its start.
    count = ceil(frames * source_fps / fps) + 1
    chosen = tail_aligned_frames(count, source_fps, fps)[-frames:]
    return tuple(count - 1 - frame for frame in chosen)


def clip_pair(
    open_file: Callable[[], IO[bytes]],
    name: str,
    geometry: BatchGeometry,
    config: ScaleConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return input and target of a window of a clip; both end with the same frame.

    Where a clip is shorter than the window, its first frame repeats. Where its time stamps are
    uneven, a frame stays until the next one, as on a screen.

    Args:
        open_file: opens a file that PyAV decodes, which is closed again here.
        name: of the clip, for messages.
        geometry: the scales; of clips.
        config: how regions are drawn.
        generator: places the window and the region.

    Returns:
        (3, frames, *size) and (3, target_frames, *target_size), float32 in [0, 1]; one tensor
        where the scales are equal.

    Raises:
        ValueError: if PyAV is missing.
        UnreadableSampleError: if the clip is damaged, or states no rate or time stamps.
    """
    assert geometry.fps is not None and geometry.target_fps is not None, "the scales are of clips"
    sizes = [geometry.size]
    with open_clip(open_file, name) as clip:
        before = [frames_before_last(geometry.frames, geometry.fps, clip.rate)]
        if not geometry.is_symmetric:
            sizes.append(geometry.target_size)
            before.append(
                frames_before_last(geometry.target_frames, geometry.target_fps, clip.rate)
            )
        oldest = max(map(max, before))
        places = max(1, clip.frames - oldest)
        last = min(oldest, clip.frames - 1)
        last += int(torch.randint(places, (), generator=generator))
        chosen = [[max(0, last - age) for age in ages] for ages in before]
        kept: list[dict[int, Tensor]] = [{} for _ in sizes]
        region: Region | None = None
        for index, frame in clip.at(sorted({index for indices in chosen for index in indices})):
            if region is None:
                region = draw_region(
                    (frame.shape[-2], frame.shape[-1]), geometry, config, generator
                )
            for size, indices, scaled in zip(sizes, chosen, kept, strict=True):
                if index in indices:
                    scaled[index] = at_scale(region.cut(frame), size)
    pair = [
        torch.stack([scaled[index] for index in indices], dim=1)
        for indices, scaled in zip(chosen, kept, strict=True)
    ]
    return pair[0], pair[-1]
