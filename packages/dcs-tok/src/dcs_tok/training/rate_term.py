"""Rate-distortion training: latents quantised at a drawn step, and the bits that they would take.

    J = squared error + lambda bits,    lambda = kappa step^2,    loss = log J

In units of the canonical patch a step costs a squared error proportional to step^2, so one kappa
serves all steps, and the logarithm makes steps and pictures weigh alike. The decoder sees symbols
as a file holds them, with the gradient of the identity; bits come from noise in place of rounding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dcs_common.latents import Latents
from dcs_tok.compression.quantiser import (
    area_class,
    quantise,
    segment_steps,
    step_of_quality,
)
from dcs_tok.decoding_target import still_segments
from dcs_tok.losses.rate import laplace_bits
from dcs_tok.losses.reconstruction import LOG_FLOOR
from dcs_tok.tokenizer import DCSTok

QUALITIES = (8, 76)
"""Range that training draws from: steps from 2.5 to 0.05."""
ZERO_ZONES = (0.55, 0.8)
"""Likewise, of the zone that becomes 0: rate-distortion optimisation widens it where 0 is cheap."""


class RateTerm:
    """One micro-batch's quantisation; :meth:`dequantised` comes before the others.

    Args:
        tok: the tokenizer.
        generators: one for each sample.

    Attributes:
        quality, global_step, zero_zone: drawn for each sample.
        steps: of the latents, (b, t, 1, 1, m, d).
        symbols: (b, t, h, w, m, d), integers as floats.
    """

    steps: Tensor
    symbols: Tensor

    def __init__(self, tok: DCSTok, generators: Sequence[torch.Generator]) -> None:
        self.tok, self.generators = tok, generators
        low, high = QUALITIES
        self.quality = torch.tensor(
            [int(torch.randint(low, high + 1, (), generator=g)) for g in generators]
        )
        low_zone, high_zone = ZERO_ZONES
        drawn = torch.stack([torch.rand(1, 1, 1, 1, 1, generator=g) for g in generators])
        self.zero_zone = low_zone + (high_zone - low_zone) * drawn
        self.global_step = torch.tensor([step_of_quality(int(q)) for q in self.quality])

    def dequantised(self, latents: Latents) -> Tensor:
        """Return the tokens as a decoder would get them."""
        self.steps = segment_steps(self.tok, latents) * self._global(latents.tokens)
        scaled = latents.tokens / self.steps
        self.symbols = quantise(scaled.detach(), self.zero_zone.to(scaled))
        return (scaled + (self.symbols - scaled).detach()) * self.steps

    def conditions(self, latents: Latents) -> tuple[Tensor, Tensor]:
        """Return quality and area class of each sample."""
        area = area_class(latents.size, latents.grid)
        return self.quality, torch.full_like(self.quality, area)

    def cost(
        self,
        reconstruction: Tensor,
        target: Tensor,
        latents: Latents,
        mean: Tensor,
        log_scale: Tensor,
        weight: float,
    ) -> tuple[Tensor, Tensor]:
        """Return the mean of log J over samples, and the mean bits of a patch.

        Args:
            reconstruction, target: pixels.
            latents: as encoded, not quantised.
            mean, log_scale: of the symbols' distribution, not differentiated.
            weight: kappa.
        """
        # Level by level: a sample's noise does not depend on how many levels its batch has.
        t, h, w, m, d = latents.tokens.shape[1:]
        noise = torch.stack(
            [
                torch.stack([torch.rand(t, h, w, d, generator=g) for _ in range(m)], dim=3)
                for g in self.generators
            ]
        )
        noisy = latents.tokens / self.steps + noise.to(latents.tokens) - 0.5
        bits = laplace_bits(noisy, mean.detach(), log_scale.detach()) * active(latents)
        squared = (reconstruction - target).square().flatten(1).mean(dim=1)
        values = torch.tensor(_canonical_values(self.tok, latents))
        rate = (bits.sum(dim=(2, 3, 4, 5)) / values.to(bits)).mean(dim=1)
        rate = rate / (latents.grid[1] * latents.grid[2])
        step = self.global_step.to(squared)
        return (squared + weight * step.square() * rate + LOG_FLOOR).log().mean(), (
            bits.detach().sum() / latents.levels.numel()
        )

    def _global(self, tokens: Tensor) -> Tensor:
        return self.global_step.to(tokens)[:, None, None, None, None, None]


def _canonical_values(tok: DCSTok, latents: Latents) -> list[int]:
    """Return how many numbers the canonical patch of each segment holds."""
    path = tok.linear_path
    assert path is not None, "steps came from it"
    kinds = still_segments(latents, tok.config.segments_per_second)
    return [(path.still if still else path.moving).mean.numel() for still in kinds]


def symbol_bits(symbols: Tensor, mean: Tensor, log_scale: Tensor, latents: Latents) -> Tensor:
    """Return the bits of a symbol that is held, in the mean of a sample and then over samples."""
    held = active(latents)
    bits = laplace_bits(symbols, mean, log_scale) * held
    return (bits.flatten(1).sum(1) / (held.flatten(1).sum(1) * bits.shape[-1])).mean()


def active(latents: Latents) -> Tensor:
    """Return where tokens are held: booleans (b, t, h, w, n, 1)."""
    count = torch.arange(latents.num_levels, device=latents.levels.device)
    return (count < latents.levels.unsqueeze(-1)).unsqueeze(-1).to(latents.tokens.device)
