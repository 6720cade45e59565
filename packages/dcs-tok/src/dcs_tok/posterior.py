"""Latents with a variance: what a variational autoencoder's encoder gives (Kingma & Welling 2014).

The tokenizers of most latent diffusion models are such autoencoders: the encoder gives a mean and
a variance for each latent, training decodes a draw, and a Kullback-Leibler term
(:mod:`dcs_tok.losses.kl`) keeps the draws near unit noise. DCS-Tok has no such chance; this is the
rival that what a generator is given (a draw, mean and deviation, or the mean) is compared on.

    encoder -> (b, t, h, w, n, 2 d): mean, raw
    log variance = clamp(initial + raw)       the raw half starts as zero
    tokens (b, t, h, w, n, 2 d): mean, then standard deviation
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from dcs_common.latents import Latents
from dcs_tok.config import DCSTokConfig
from dcs_tok.level_noise import level_noise
from dcs_tok.losses.active_tokens import active_tokens

INITIAL_LOG_VARIANCE = -6.0
"""A deviation of 0.05, where latents of the linear path have 0.1 to 7: little noise to start."""
LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""As in the autoencoders of Rombach et al. 2022: exp stays finite both ways."""


def start_without_variance(head: nn.Linear) -> None:
    """Zero the half of a token head (width -> 2 d) that gives the raw log variance."""
    half = head.out_features // 2
    with torch.no_grad():
        head.weight[half:] = 0
        head.bias[half:] = 0


def sum_of_parts(code: Tensor, added: Tensor) -> Tensor:
    """Add what a network gives to a code; one that is twice as wide has variances behind it."""
    if added.shape[-1] != code.shape[-1]:
        code = nn.functional.pad(code, (0, added.shape[-1] - code.shape[-1]))
    return code + added


def as_posterior(raw: Tensor, levels: Tensor) -> Tensor:
    """Turn mean and raw log variance (b, t, h, w, n, 2 d) into mean and standard deviation.

    In float32 at least. Tokens above the level map (b, t, h, w) become zero.
    """
    mean, log_variance = (raw if raw.dtype == torch.float64 else raw.float()).chunk(2, dim=-1)
    log_variance = (INITIAL_LOG_VARIANCE + log_variance).clamp(*LOG_VARIANCE_RANGE)
    tokens = torch.cat([mean, (0.5 * log_variance).exp()], dim=-1)
    return tokens.where(active_tokens(tokens, levels), 0)


def mean_alone(latents: Latents, config: DCSTokConfig) -> Latents:
    """Return latents without the deviations that a model with ``posterior`` put into them."""
    if config.posterior and latents.tokens.shape[5] == 2 * config.latent_channels:
        return replace(latents, tokens=latents.tokens[..., : config.latent_channels])
    return latents


def draw_latents(tokens: Tensor, levels: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw latents (b, t, h, w, n, d), ``mean + deviation * noise``, differentiably.

    Args:
        tokens: mean, then standard deviation (b, t, h, w, n, 2 d).
        levels: level map (b, t, h, w); tokens above it stay zero.
        generators: one per sample. A sample's noise depends on its generator and grid alone, and
            that of level i not on how many levels follow.

    Raises:
        ValueError: if the shapes do not belong together or there is not one generator per sample.
    """
    active = active_tokens(tokens, levels)
    if len(generators) != len(tokens) or tokens.shape[5] % 2:
        raise ValueError(
            "A draw needs a mean and a deviation for each channel and one generator per sample, "
            f"but has {tokens.shape[5]} channels and {len(generators)} generators for "
            f"{len(tokens)} samples. Pass what `latents_of` gives."
        )
    mean, deviation = tokens.chunk(2, dim=-1)
    noise = torch.stack([level_noise(mean.shape[1:], generator) for generator in generators])
    return (mean + deviation * noise.to(mean)).where(active, 0)
