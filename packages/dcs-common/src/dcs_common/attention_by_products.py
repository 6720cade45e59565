"""Attention in bfloat16 on a CPU: matrix products on pieces of heads and queries.

PyTorch's fused kernel takes no advantage of bfloat16 on a CPU, least of all on the way back, where
it takes twice the time of float32; its matrix products do. Logits and weights are rounded to
bfloat16 here. As in the fused kernel, the backward pass computes the weights again.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from dcs_common.autograd import apply

# bfloat16 attention weights held at once, 2 MiB: they stay in the processor's cache.
_WEIGHTS_AT_ONCE = 2**20


def suits(query: Tensor) -> bool:
    """Tell whether attention is to be computed here."""
    if query.device.type != "cpu":
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return query.dtype == torch.bfloat16


def attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Attend from (b, q, heads, head_dim) to (b, k, heads, head_dim); return bfloat16.

    A mask (q, k) is added to the logits, and has no gradient.
    """
    scaled = query * query.shape[-1] ** -0.5
    query, key, value = (x.bfloat16().transpose(1, 2) for x in (scaled, key, value))
    batch, heads = query.shape[:2]
    flat = (x.flatten(0, 1) for x in (query, key, value))
    mask = None if mask is None else mask.detach().bfloat16()
    out: Tensor = apply(_Attention, *flat, mask)
    return out.unflatten(0, (batch, heads)).transpose(1, 2)


class _Attention(torch.autograd.Function):
    """Of scaled queries (b, q, c) to keys and values (b, k, c)."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return torch.ops.dcs_common.attend_by_products(query, key, value, mask)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        operation = torch.ops.dcs_common.attend_by_products_backward
        to_query, to_key, to_value = operation(grad, *ctx.saved_tensors)
        return to_query, to_key, to_value, None


# Operations of their own in torch's eyes: what runs on tensors without values, to learn what a
# step costs, passes them at one go, however many pieces they take.
torch.library.define(
    "dcs_common::attend_by_products",
    "(Tensor query, Tensor key, Tensor value, Tensor? mask) -> Tensor",
)
torch.library.define(
    "dcs_common::attend_by_products_backward",
    "(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor? mask, Tensor out)"
    " -> (Tensor, Tensor, Tensor)",
)


@torch.library.impl("dcs_common::attend_by_products", "CPU")
def _forward(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    with torch.autocast("cpu", enabled=False):
        for some, rows in _pieces(query, key):
            weights = _weights(query, key, mask, some, rows)
            torch.bmm(weights, value[some], out=out[some, rows])
    return out


@torch.library.impl("dcs_common::attend_by_products_backward", "CPU")
def _backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    to_query = torch.empty_like(query)  # each row is written once, the others are sums
    to_key, to_value = torch.zeros_like(key), torch.zeros_like(value)
    along = (grad * out).sum(dim=-1, keepdim=True)
    for some, rows in _pieces(query, key):
        weights = _weights(query, key, mask, some, rows)
        part = grad[some, rows]
        to_value[some].baddbmm_(weights.mT, part)
        to_logits = torch.bmm(part, value[some].mT).sub_(along[some, rows]).mul_(weights)
        torch.bmm(to_logits, key[some], out=to_query[some, rows])
        to_key[some].baddbmm_(to_logits.mT, query[some, rows])
    return to_query, to_key, to_value


@torch.library.register_fake("dcs_common::attend_by_products")
def _(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    return torch.empty_like(query, memory_format=torch.contiguous_format)


@torch.library.register_fake("dcs_common::attend_by_products_backward")
def _(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


@register_flop_formula(torch.ops.dcs_common.attend_by_products)
def _(query: torch.Size, key: torch.Size, *_: Any, **__: Any) -> int:
    return _flops_of_a_product(query, key) * 2


@register_flop_formula(torch.ops.dcs_common.attend_by_products_backward)
def _(grad: torch.Size, query: torch.Size, key: torch.Size, *_: Any, **__: Any) -> int:
    return _flops_of_a_product(query, key) * 5


def _flops_of_a_product(query: torch.Size, key: torch.Size) -> int:
    batch, num_queries, channels = query
    return 2 * batch * num_queries * key[1] * channels


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, some: slice, rows: slice) -> Tensor:
    logits = torch.bmm(query[some, rows], key[some].mT)
    if mask is not None:
        logits.add_(mask[rows])
    return logits.softmax(dim=-1)


def _pieces(query: Tensor, key: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield slices of the batch and of the queries."""
    batch, num_queries = query.shape[:2]
    rows = min(num_queries, max(1, _WEIGHTS_AT_ONCE // key.shape[1]))
    at_once = max(1, _WEIGHTS_AT_ONCE // (rows * key.shape[1]))
    for start in range(0, batch, at_once):
        for row in range(0, num_queries, rows):
            yield slice(start, start + at_once), slice(row, row + rows)
