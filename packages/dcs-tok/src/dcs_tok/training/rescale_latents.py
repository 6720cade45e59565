"""Choosing the unit of the latents: what noise of a fixed deviation can be measured against.

Latent denoising (Eq. 7) adds noise of deviation 3, so a code whose deviations are far from that
would first spend its training on growing or shrinking. A model whose latents leave and enter
linearly can be given any unit without a change of what it decodes::

    z' = s z:   rows of what writes latents times s, columns of what reads them over s
"""

from typing import cast

import torch
from torch import Tensor

from dcs_tok.canonical_network import DecoderNetwork, EncoderNetwork
from dcs_tok.linear_path import LinearCode
from dcs_tok.tokenizer import DCSTok

_LEAST_STD = 1e-4


def denoising_scales(std: Tensor, last_level: float) -> Tensor:
    """Return factors (n, d) that give each latent a deviation in proportion to ``sqrt(std)``.

    Of all ways to scale independent values that are sent through noise at a fixed mean square and
    read back linearly, this one has the least squared error where the noise is small: twice the
    deviation in pixels deserves twice the power, not four times. Table 6's deviations fall with the
    level likewise.

    Args:
        std: deviations (n, d) of the latents as they are, in units in which equal latents matter
            equally to the pixels (as the Karhunen-Loeve transform's do).
        last_level: the root mean square deviation that the last level is given.
    """
    std = std.clamp(min=_LEAST_STD)
    wanted = std.sqrt()
    wanted = wanted * (last_level / wanted[-1].square().mean().sqrt())
    return wanted / std


@torch.no_grad()
def rescale_latents(tok: DCSTok, scales: Tensor) -> None:
    """Multiply the latents by factors (n, d), and leave every reconstruction as it is.

    Raises:
        ValueError: if the model has no linear path, or transformers, whose norms forget a scale.
    """
    config = tok.config
    if tok.linear_path is None or tok.patchifier is not None or tok.depatchifier is not None:
        raise ValueError(
            "Latents can be rescaled in a model that writes and reads them linearly, but this one "
            "has transformers, or no linear path. Leave `initial_latent_std` out of the recipe."
        )
    if scales.shape != (config.num_levels, config.latent_channels):
        raise ValueError(
            f"`scales` must have shape {(config.num_levels, config.latent_channels)}, but has "
            f"{tuple(scales.shape)}. Give one factor for each level and channel."
        )
    for kind in ("still", "moving"):
        code = cast(LinearCode, getattr(tok.linear_path, kind))
        factor = scales.to(code.encode_weight)
        code.encode_weight.mul_(factor.view(*factor.shape, 1, 1, 1, 1))
        code.decode_weight.div_(factor.view(*factor.shape, 1, 1, 1, 1))
        if tok.encoder_networks is not None:
            writes = cast(EncoderNetwork, tok.encoder_networks[kind]).tokens_out
            writes.weight.mul_(factor.flatten().unsqueeze(1))
            writes.bias.mul_(factor.flatten())
        if tok.decoder_networks is not None:
            reads = cast(DecoderNetwork, tok.decoder_networks[kind]).latents_in
            reads.weight.div_(factor.flatten())
