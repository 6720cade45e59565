"""How far latents with a variance are from unit noise (Kingma & Welling 2014, appendix B)."""

import torch
from torch import Tensor

from dcs_tok.losses.active_tokens import active_tokens


def kl_loss(tokens: Tensor, levels: Tensor) -> Tensor:
    """Return the divergence from N(0, 1) in nats per latent value, a scalar.

        mean of  (mean^2 + deviation^2 - 1) / 2 - ln(deviation)

    A mean where implementations of latent diffusion often sum over a sample's latents: the weight
    then keeps its meaning at every number of patches, channels and levels.

    Args:
        tokens: means, then standard deviations (b, t, h, w, n, 2 d).
        levels: level map (b, t, h, w); tokens above it do not count.

    Raises:
        ValueError: if the shapes do not belong together.
    """
    active = active_tokens(tokens, levels)
    mean, deviation = tokens.where(active, 1.0).double().chunk(2, dim=-1)
    nats = (mean.square() + deviation.square() - 1) / 2 - deviation.log()
    counted = nats.where(active, torch.zeros_like(nats))
    return (counted.sum() / (active.sum() * mean.shape[5])).to(tokens.dtype)
