"""``sample``: all levels at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dcs_common.latents import Latents
from dcs_dit.model import DCSDiT
from dcs_dit.sampling.checks import Label, check_stands_alone
from dcs_dit.sampling.joint import joint_tokens
from dcs_dit.sampling.latents import to_latents
from dcs_dit.sampling.request import make_request
from dcs_dit.sampling.solver import Progress
from dcs_dit.text import TextEncoder, TextStates


def sample(
    dit: DCSDiT,
    *,
    labels: Label | Sequence[Label] | Tensor | None = None,
    texts: Sequence[str] | TextStates | None = None,
    text_encoder: TextEncoder | None = None,
    grid: Sequence[int] | None = None,
    levels: int | None = None,
    steps: int = 50,
    guidance_scale: float | None = None,
    guidance_interval: tuple[float, float] = (0.1, 1.0),
    guidance_channels: int | None = None,
    time_shift: float = 1.0,
    num_samples: int | None = None,
    seeds: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
    on_progress: Progress | None = None,
) -> Latents:
    """Generate latents, all levels at once.

    Args:
        dit: the generator, on any device and in any precision.
        labels: names or numbers of classes, one for each sample; None for no class.
        texts: texts, or their states, one for each sample; None for no text.
        text_encoder: encodes ``texts``.
        grid: (segments, rows, columns) or (rows, columns); default: the trained one. It sets
            aspect ratio and duration.
        levels: how many; default: all trained ones. It sets quality.
        steps: of Euler's method; each evaluates the model once.
        guidance_scale: 1 is no guidance; default: the model's own.
        guidance_interval, guidance_channels, time_shift:
            see :class:`~dcs_dit.sampling.settings.SamplingSettings`.
        num_samples: how many, where nothing else says so.
        seeds: one for each sample. A sample's noise depends on its seed and level alone.
        generator: draws the seed of the batch where ``seeds`` are not given; sample i depends on
            that seed and i.
        on_progress: called with (steps done, steps in all).

    Returns:
        Latents in the tokenizer's units, with its fingerprint; they decode at any size.

    Raises:
        ValueError: if the request cannot be met.
    """
    check_stands_alone(dit.config)
    request = make_request(
        dit,
        labels=labels,
        texts=texts,
        text_encoder=text_encoder,
        grid=grid,
        levels=levels,
        steps=steps,
        guidance_scale=guidance_scale,
        guidance_interval=guidance_interval,
        guidance_channels=guidance_channels,
        time_shift=time_shift,
        num_samples=num_samples,
        seeds=seeds,
        generator=generator,
    )
    tokens = joint_tokens(dit, request, on_progress=on_progress)
    return to_latents(dit, tokens, request.grid)
