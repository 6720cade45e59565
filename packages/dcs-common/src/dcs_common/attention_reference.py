"""The attention patterns as the paper draws them: one softmax under a dense mask (Fig. 12, 13).

Slow and plain on purpose. Masks are boolean, (queries, keys), True where a query may attend.
"""

import torch
from torch import Tensor

from dcs_common.attention import PixelAttention


def masked_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attend under an additive mask; all tensors (batch, tokens, heads, head_dim).

    Queries that may attend to nothing get zeros.
    """
    out = torch.nn.functional.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=bias
    )
    return out.transpose(1, 2)


def additive(may_attend: Tensor, like: Tensor) -> Tensor:
    """Turn a boolean mask into 0 where a query may attend and minus infinity elsewhere."""
    return torch.where(may_attend, 0.0, -torch.inf).to(like)


def pla_mask(num_pixels: int, num_latents: int, pixels: PixelAttention = "full") -> Tensor:
    """Fig. 12(a): pixels see pixels; latent i sees all pixels and latents up to i."""
    size = num_pixels + num_latents
    is_pixel = torch.arange(size) < num_pixels
    own = torch.eye(size, dtype=torch.bool) if pixels == "self" else is_pixel.expand(size, size)
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    return torch.where(is_pixel[:, None], own, is_pixel | causal)


def lpa_mask(num_pixels: int, num_latents: int, pixels: PixelAttention = "full") -> Tensor:
    """Fig. 12(b): latent i sees latents up to i; pixels see pixels and all latents."""
    size = num_pixels + num_latents
    is_pixel = torch.arange(size) < num_pixels
    own = torch.eye(size, dtype=torch.bool) if pixels == "self" else is_pixel.expand(size, size)
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    return torch.where(is_pixel[:, None], own | ~is_pixel, causal & ~is_pixel)


def lca_mask(level: Tensor, segment: Tensor, is_active: Tensor | None = None) -> Tensor:
    """Fig. 12(c), 12(d), 13: levels up to one's own, segments up to one's own, active keys.

    Args:
        level, segment: (tokens,) of each token, in any order.
        is_active: (..., tokens); inactive tokens neither see nor are seen.

    Returns:
        (..., tokens, tokens).
    """
    mask = (level[:, None] >= level) & (segment[:, None] >= segment)
    if is_active is not None:
        mask = mask & is_active.unsqueeze(-1) & is_active.unsqueeze(-2)
    return mask
