"""From normalised tokens to :class:`dcs_common.Latents` that a tokenizer decodes."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from dcs_common.latents import Latents
from dcs_dit.data.latent_form import latent_form
from dcs_dit.model import DCSDiT


def to_latents(dit: DCSDiT, levels: Sequence[Tensor], grid: tuple[int, int, int]) -> Latents:
    """Return latents in the tokenizer's units.

    Args:
        dit: the generator, which knows the latents' statistics and what they decode to.
        levels: of each level, (b, t * h * w, c) normalised.
        grid: (t, h, w) of the generator's tokens; those of its form's latents may be more.
    """
    config = dit.config
    tokens = dit.denormalise(torch.stack(tuple(levels), dim=2).unflatten(1, grid))
    tokens = latent_form(config.latent_form).latents(tokens)
    size = (tokens.shape[2] * config.patch_pixels, tokens.shape[3] * config.patch_pixels)
    if config.fps is None:
        fps, frames = None, 1
    else:
        fps = Fraction(config.fps)
        frames = grid[0] * config.fps // config.segments_per_second
    return Latents(
        tokens=tokens.float(),
        size=size,
        fps=fps,
        frames=frames,
        tokenizer=config.tokenizer,
    )
