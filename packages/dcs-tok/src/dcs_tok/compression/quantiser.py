"""Quantisation of latents: one global step, in the unit of what it does to pixels.

    quality -> step --(/ length of the component)--> step of each level and channel
    latents / step -> symbols (integers) -> symbols * step -> latents

A latent of channel c of level i adds that multiple of a component of the linear code to the
canonical patch. A step is therefore divided by the component's length: equal steps then cost equal
squared error, which is what minimises the error at a rate when steps are small.
"""

import torch
from torch import Tensor

from dcs_common.latents import Latents
from dcs_tok.decoding_target import still_segments
from dcs_tok.tokenizer import DCSTok

MAX_QUALITY = 100
QUALITIES_PER_OCTAVE = 12
"""Halving the step takes so much quality."""
COARSEST_STEP = 4.0
"""The step at quality 0, as a length of canonical pixels in [0, 1]."""
ZERO_ZONE = 0.62
"""Latents below so many steps become 0; rounding alone would have it 0.5. A 0 costs few bits."""
MAX_SYMBOL = 2**20
"""Magnitude that symbols are clamped to, far above what pixels in [0, 1] reach."""


def step_of_quality(quality: int) -> float:
    """Return the global step, in canonical pixels.

    Raises:
        ValueError: if quality is not an integer in 0 to 100.
    """
    if isinstance(quality, bool) or not isinstance(quality, int) or not 0 <= quality <= MAX_QUALITY:
        raise ValueError(
            f"`quality` must be an integer from 0 to {MAX_QUALITY}, but is {quality!r}. "
            "Higher is better and larger."
        )
    return COARSEST_STEP * 2 ** (-quality / QUALITIES_PER_OCTAVE)


def unit_steps(tok: DCSTok, *, still: bool) -> Tensor:
    """Return the steps (n, d) of latents for a global step of 1: one by the component's length.

    Args:
        tok: the tokenizer.
        still: of segments of one frame, or of moving ones.

    Raises:
        ValueError: if the model has no linear path.
    """
    if tok.linear_path is None:
        raise ValueError(
            "Compression needs a model with a linear path, whose components give the steps of the "
            "quantiser, but this one has none. Use dcs-tok-nano or a model of its kind."
        )
    code = tok.linear_path.still if still else tok.linear_path.moving
    return 1 / code.decode_weight.detach().float().flatten(2).norm(dim=2)


def segment_steps(tok: DCSTok, latents: Latents) -> Tensor:
    """Return the steps of latents for a global step of 1: (t, 1, 1, n, d), float32."""
    still, moving = (unit_steps(tok, still=kind) for kind in (True, False))
    return by_segment(still, moving, latents, tok.config.segments_per_second)


def by_segment(still: Tensor, moving: Tensor, latents: Latents, segments_per_second: int) -> Tensor:
    """Return steps (n, d) of still or of moving segments for each segment: (t, 1, 1, m, d)."""
    kinds = still_segments(latents, segments_per_second)
    steps = torch.stack([still if kind else moving for kind in kinds])
    return steps[:, None, None, : latents.num_levels]


def quantise(scaled: Tensor, zero_zone: float | Tensor = ZERO_ZONE) -> Tensor:
    """Round latents in units of their step to symbols of the same dtype."""
    symbols = scaled.round().clamp(-MAX_SYMBOL, MAX_SYMBOL)
    return symbols.masked_fill(scaled.abs() < zero_zone, 0)


def area_class(size: tuple[int, int], grid: tuple[int, int, int]) -> int:
    """Return log2 of a patch's area in pixels, rounded down: how fine the source is to the code.

    Args:
        size: (height, width) of the source.
        grid: (segments, rows, columns).
    """
    pixels = size[0] * size[1] // (grid[1] * grid[2])
    return min(MAX_AREA_CLASS, max(0, pixels.bit_length() - 1))


MAX_AREA_CLASS = 15
"""Patches of 181 pixels a side and more are alike."""
