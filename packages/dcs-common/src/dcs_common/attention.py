"""The three attention patterns without dense masks (Fig. 4, 12, 13; Sec. 3.3, 6.1).

    PLA  pixel -> pixel (or only itself); latent i -> all pixels and latents j <= i
    LPA  latent i -> latents j <= i;      pixel -> all pixels (or only itself) and all latents
    LCA  (segment s, level i) -> (segment s' <= s, level j <= i) of every patch

Each is a few calls of scaled-dot-product attention on slices of one tensor. The plain versions
with dense masks, against which tests hold these, are in :mod:`dcs_common.attention_reference`.
All tensors here are (batch, tokens, heads, head_dim); pixel tokens come before latent tokens.
"""

from math import log
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from dcs_common import attention_by_products
from dcs_common.autograd import apply
from dcs_common.recompute import call
from dcs_common.token_layout import TokenGroup

PixelAttention = Literal["full", "self"]


Slices = tuple[tuple[int, int], ...]


class _TakeBoxes(torch.autograd.Function):
    """Several overlapping boxes of tokens of one tensor; their gradients meet in one buffer.

    Plain slicing would pad every box's gradient with zeros to the full size before adding it.
    """

    @staticmethod
    def forward(x: Tensor, boxes: tuple[Slices, ...]) -> tuple[Tensor, ...]:
        return tuple(
            x[:, box[0][0] : box[0][1]]
            if len(box) == 1
            else torch.cat([x[:, start:stop] for start, stop in box], dim=1)
            for box in boxes
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: object) -> None:
        x, ctx.boxes = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].new_zeros(ctx.shape)
        for box, grad in zip(ctx.boxes, grads, strict=True):
            offset = 0
            for start, stop in box:
                total[:, start:stop] += grad[:, offset : offset + stop - start]
                offset += stop - start
        return total, None


def _take_boxes(x: Tensor, boxes: tuple[Slices, ...]) -> tuple[Tensor, ...]:
    return apply(_TakeBoxes, x, boxes)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    if attention_by_products.suits(query):
        return attention_by_products.attend_by_products(query, key, value, mask)
    out = scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask
    )
    return out.transpose(1, 2)


def _heads_first(x: Tensor) -> Tensor:
    """Lay each head's tokens out one after another in memory, once for all tiles that read them."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def level_causal_attention(query: Tensor, key: Tensor, value: Tensor, group: TokenGroup) -> Tensor:
    """LCA for the samples of one group: one call per tile, on the box of keys it sees.

    Args:
        query: (samples, tokens of this sequence, heads, head_dim).
        key, value: the same, or with the cached levels in front.
        group: the tiles.
    """
    boxes = tuple(tile.box for tile in group.tiles)
    if len(boxes) > 1 and not torch.is_grad_enabled():  # training gains nothing from it
        key, value = _heads_first(key), _heads_first(value)
    queries = query.split([tile.stop - tile.start for tile in group.tiles], dim=1)
    keys, values = _take_boxes(key, boxes), _take_boxes(value, boxes)
    outputs = [_attend(*tile) for tile in zip(queries, keys, values, strict=True)]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


def pixel_logit_bias(num_pixels: int, reference: int | None) -> float:
    """Return ``-log(P / P_ref)``, which undoes the dilution of latent keys among P pixel keys.

    ``reference`` None switches it off (the paper).
    """
    return 0.0 if reference is None else -log(num_pixels / reference)


def _latent_query_mask(num_pixels: int, num_latents: int, bias: float, like: Tensor) -> Tensor:
    """(m, P + m) float mask: all pixels (biased) and latents up to the query's own."""
    mask = like.new_full((num_latents, num_pixels + num_latents), -torch.inf).triu(num_pixels + 1)
    mask[:, :num_pixels] += bias
    return mask


def pixel_to_latent_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_pixels: int,
    *,
    pixels: PixelAttention = "full",
    bias: float = 0.0,
    latents_only: bool = False,
) -> Tensor:
    """PLA inside patches.

    Args:
        query: (p, P + m, heads, head_dim), or (p, m, ...) with ``latents_only``.
        key, value: (p, P + m, heads, head_dim).
        num_pixels: P.
        pixels: what pixel tokens attend to among themselves.
        bias: added to the logits of pixel keys for latent queries.
        latents_only: compute latent outputs alone (all that a last block needs).
    """
    num_latents = key.shape[1] - num_pixels
    mask = _latent_query_mask(num_pixels, num_latents, bias, query)
    if latents_only:
        return _attend(query, key, value, mask)
    pixel_query, latent_query = query.split([num_pixels, num_latents], dim=1)
    if pixels == "self":
        own = value[:, :num_pixels]
    else:
        boxes = (((0, num_pixels),), ((0, key.shape[1]),))
        pixel_key, key = _take_boxes(key, boxes)
        pixel_value, value = _take_boxes(value, boxes)
        own = _attend(pixel_query, pixel_key, pixel_value)
    return torch.cat([own, _attend(latent_query, key, value, mask)], dim=1)


def latent_to_pixel_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_pixels: int,
    *,
    pixels: PixelAttention = "full",
    bias: float = 0.0,
    pixels_only: bool = False,
) -> Tensor:
    """LPA inside patches.

    Args:
        query: (p, P + m, heads, head_dim), or (p, P, ...) with ``pixels_only``.
        key, value: (p, P + m, heads, head_dim).
        num_pixels: P.
        pixels: what pixel tokens attend to among themselves.
        bias: added to the logits of pixel keys for pixel queries.
        pixels_only: compute pixel outputs alone (all that a last block needs).
    """
    pixel_query = query[:, :num_pixels]
    if pixels == "self":
        own_key = key[:, :num_pixels]
        logit = (pixel_query * own_key).sum(dim=-1) * query.shape[-1] ** -0.5 + bias
        out = attend_with_summary(
            pixel_query, logit, value[:, :num_pixels], key[:, num_pixels:], value[:, num_pixels:]
        )
    else:
        mask = None
        if bias:
            mask = query.new_zeros(1, key.shape[1])
            mask[:, :num_pixels] = bias
            mask = mask.expand(num_pixels, -1)
        out = _attend(pixel_query, key, value, mask)
    if pixels_only:
        return out
    return torch.cat([out, causal_latent_attention(query, key, value, num_pixels)], dim=1)


def causal_latent_attention(query: Tensor, key: Tensor, value: Tensor, first: int = 0) -> Tensor:
    """Attend from latent i to latents j <= i; latents are the tokens from ``first`` on."""
    query, key, value = query[:, first:], key[:, first:], value[:, first:]
    return _attend(query, key, value, _latent_query_mask(0, key.shape[1], 0.0, query))


def attend_with_summary(
    query: Tensor, logit: Tensor, summary: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """Attend to some keys and to a set that is known by its log-sum-exp and its average.

    Softmax over a union of two sets is a softmax over one set and one key whose logit is the
    log-sum-exp of the other.

    Args:
        query: (p or 1, P, heads, head_dim).
        logit: (p or 1, P, heads), log-sum-exp of the set's logits.
        summary: (p or 1, P, heads, head_dim), the set's own attention output.
        key, value: (p, m, heads, head_dim).

    Returns:
        (p, P, heads, head_dim).
    """
    scaled = query.transpose(1, 2) * query.shape[-1] ** -0.5  # p h P c
    logits = scaled @ key.permute(0, 2, 3, 1)  # p h P m
    logit = logit.transpose(1, 2).unsqueeze(-1).expand(*logits.shape[:3], 1)
    weights = torch.cat([logit, logits], dim=-1).softmax(dim=-1)
    out = weights[..., 1:] @ value.transpose(1, 2)
    out = torch.addcmul(out, weights[..., :1], summary.transpose(1, 2))
    return out.transpose(1, 2)


def attention_summary(
    query: Tensor, key: Tensor, value: Tensor, *, rows_at_once: int = 1024
) -> tuple[Tensor, Tensor]:
    """Return full attention's log-sum-exp (1, P, heads) and output (1, P, heads, head_dim).

    Where queries go in several pieces, their weights are computed again for the backward pass.
    """
    scaled = query.transpose(1, 2) * query.shape[-1] ** -0.5
    keys, values = key.permute(0, 2, 3, 1), value.transpose(1, 2)
    pieces = scaled.split(rows_at_once, dim=2)
    parts = [call(_summary, piece, keys, values, recompute=len(pieces) > 1) for piece in pieces]
    logit, out = (torch.cat(part, dim=2).transpose(1, 2) for part in zip(*parts, strict=True))
    return logit, out


def _summary(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    logits = query @ keys
    logit = logits.logsumexp(dim=-1)
    return logit, torch.exp(logits - logit.unsqueeze(-1)) @ values
