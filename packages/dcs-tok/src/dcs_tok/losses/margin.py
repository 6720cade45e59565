"""L2 regularisation of latents with a margin (L_margin of Eq. 6, Sec. 7.2, Table 6)."""

from math import isnan

from torch import Tensor

from dcs_tok.losses.active_tokens import active_tokens


def margin_loss(tokens: Tensor, levels: Tensor, margin: float = 1.0) -> Tensor:
    """Penalise what of the latents exceeds a margin: ``mean relu(|z| - margin)^2``, a scalar.

    Latent denoising rewards large latents, as they drown the noise; this loss holds them. Plain
    L2 (margin 0) also empties high levels, which matter least to the reconstruction: Table 6
    has their deviations below 1. A margin leaves small latents alone. The paper prints no
    formula and calls a margin of 1 its choice; this one is the natural reading.

    Args:
        tokens: latents (b, t, h, w, n, d).
        levels: level map (b, t, h, w); tokens above it do not count.
        margin: how large an absolute value may be for nothing; infinity turns the loss off.

    Raises:
        ValueError: if ``margin`` is negative or no number, or the shapes do not belong together.
    """
    if isnan(margin) or margin < 0:
        raise ValueError(
            f"`margin` must be 0 or more, but is {margin}. Use 0 for plain L2, infinity for none."
        )
    active = active_tokens(tokens, levels)
    excess = (tokens.where(active, 0).abs() - margin).relu()
    return excess.square().sum() / (active.sum() * tokens.shape[5])
