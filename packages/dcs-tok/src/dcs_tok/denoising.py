"""Latent denoising: the decoder learns from noisy latents (Eq. 7, Sec. 7.2)."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from dcs_tok.level_noise import level_noise
from dcs_tok.losses.active_tokens import active_tokens


class LatentDenoising(nn.Module):
    """Blend latents with noise in training mode; the identity in eval mode (Eq. 7).

        z' = a z + (1 - a) e,    a ~ U(0, 1),    e ~ N(0, std^2)

    One a for each sample, as in l-DeTok, the work that the paper follows; there, too, 3 is the
    standard deviation. A decoder that must see through the noise needs latents that vary
    smoothly, and those are easier to generate. Without :func:`~dcs_tok.losses.margin.margin_loss`
    the latents merely outgrow the noise (Table 6). Turn it off with ``.eval()`` while the decoder
    is fine-tuned.

    Args:
        std: standard deviation of the noise.

    Raises:
        ValueError: if ``std`` is negative or not finite.
    """

    def __init__(self, std: float = 3.0) -> None:
        super().__init__()
        if not (isfinite(std) and std >= 0):
            raise ValueError(f"`std` must be 0 or more and finite, but is {std}. The paper uses 3.")
        self.std = std

    def forward(
        self, tokens: Tensor, levels: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Return noisy latents; tokens above the level map stay zero.

        Args:
            tokens: latents (b, t, h, w, n, d).
            levels: level map (b, t, h, w).
            generators: one per sample. A sample's noise depends on its generator and grid alone:
                neither on its batch mates nor on the number of processes, and that of level i
                not on how many levels follow.

        Raises:
            ValueError: if the shapes do not belong together or there is not one generator per
                sample.
        """
        if not self.training:
            return tokens
        active = active_tokens(tokens, levels)
        if len(generators) != len(tokens):
            raise ValueError(
                f"Denoising needs one generator per sample, but has {len(generators)} for "
                f"{len(tokens)} samples. Pass one for each."
            )
        drawn = [_draw(tokens.shape[1:], generator) for generator in generators]
        shares = torch.stack([share for share, _ in drawn]).to(tokens).view(-1, 1, 1, 1, 1, 1)
        noise = torch.stack([noise for _, noise in drawn]).to(tokens)
        noisy = shares * tokens + (1 - shares) * (self.std * noise)
        return noisy.where(active, 0)


def _draw(shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a, and unit noise (t, h, w, n, d)."""
    share = torch.rand((), generator=generator, device=generator.device)
    return share, level_noise(shape, generator)
