"""In bfloat16 on a CPU, attention is products on pieces: the same softmax, the same gradients."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from dcs_common import attention_by_products
from dcs_common.attention import (
    latent_to_pixel_attention,
    level_causal_attention,
    pixel_to_latent_attention,
)
from dcs_common.attention_reference import additive, lca_mask, lpa_mask, masked_attention, pla_mask
from dcs_common.token_layout import TokenLayout
from dcs_common.training.cost import fake_mode
from dcs_common.training.meter import Meter

SAMPLES, SEGMENTS, ROWS, COLUMNS, LEVELS, HEADS, WIDTH = 2, 3, 1, 5, 3, 7, 11


def inputs(*shape: int) -> list[Tensor]:
    """Queries, keys and values in bfloat16."""
    return [
        torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()
        for seed in (1, 2, 3)
    ]


def relative_error(out: Tensor, expected: Tensor) -> float:
    expected = expected.detach()
    return float((out.detach().double() - expected).norm() / expected.norm())


def lca_case() -> tuple[list[Tensor], TokenLayout, Tensor]:
    """Inputs of one group, its layout, and the reference's output in float64."""
    layout = TokenLayout.of(torch.full((SAMPLES, SEGMENTS, ROWS, COLUMNS), LEVELS))
    patches = ROWS * COLUMNS
    level = torch.arange(LEVELS).repeat_interleave(SEGMENTS * patches)
    segment = torch.arange(SEGMENTS).repeat_interleave(patches).repeat(LEVELS)
    qkv = inputs(SAMPLES, len(level), HEADS, WIDTH)
    exact = [part.double() for part in qkv]
    mask = additive(lca_mask(level, segment), exact[0])
    return qkv, layout, masked_attention(*exact, mask)


@pytest.mark.parametrize("weights_at_once", [1, 17, 90, 400, 2**20])
def test_lca_is_the_masked_softmax_in_pieces_of_any_size(
    weights_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of single queries, of some queries, of one head, of some heads, and all at once."""
    monkeypatch.setattr(attention_by_products, "_WEIGHTS_AT_ONCE", weights_at_once)
    qkv, layout, expected = lca_case()
    (group,) = layout.groups
    out = level_causal_attention(*qkv, group)
    assert out.dtype == torch.bfloat16
    assert out.shape == expected.shape
    assert relative_error(out, expected) < 0.01


@pytest.mark.parametrize("pattern", ["PLA", "LPA"])
@pytest.mark.parametrize("bias", [0.0, -0.7])
def test_attention_in_patches_is_the_masked_softmax_and_so_are_its_gradients(
    pattern: str, bias: float
) -> None:
    pixels, latents = 13, 5
    attend, mask = {
        "PLA": (pixel_to_latent_attention, pla_mask),
        "LPA": (latent_to_pixel_attention, lpa_mask),
    }[pattern]
    qkv = [part.requires_grad_() for part in inputs(3, pixels + latents, HEADS, WIDTH)]
    exact = [part.detach().double().requires_grad_() for part in qkv]
    logits = additive(mask(pixels, latents), exact[0])
    biased = slice(pixels, None) if pattern == "PLA" else slice(pixels)
    logits[biased, :pixels] += bias
    expected = masked_attention(*exact, logits)
    out = attend(*qkv, pixels, bias=bias)
    assert out.dtype == torch.bfloat16
    assert relative_error(out, expected) < 0.01
    gradients = torch.autograd.grad(out.square().sum(), qkv)
    wanted = torch.autograd.grad(expected.square().sum(), exact)
    for gradient, by_mask in zip(gradients, wanted, strict=True):
        assert relative_error(gradient, by_mask) < 0.03


@pytest.mark.parametrize("weights_at_once", [1, 90, 400, 2**20])
@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_each_input_gets_its_gradient(
    wanted: int, weights_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_by_products, "_WEIGHTS_AT_ONCE", weights_at_once)
    qkv, layout, _ = lca_case()
    (group,) = layout.groups
    exact = [part.double().requires_grad_() for part in qkv]
    (expected,) = torch.autograd.grad(
        level_causal_attention(*exact, group).square().sum(), exact[wanted]
    )
    qkv[wanted].requires_grad_()
    (gradient,) = torch.autograd.grad(
        level_causal_attention(*qkv, group).square().sum(), qkv[wanted]
    )
    assert relative_error(gradient, expected) < 0.03


def test_inputs_that_require_gradients_may_be_used_without() -> None:
    qkv, layout, expected = lca_case()
    (group,) = layout.groups
    with torch.no_grad():
        out = level_causal_attention(*(part.requires_grad_() for part in qkv), group)
    assert not out.requires_grad
    assert relative_error(out, expected) < 0.01


def test_under_autocast_all_inputs_are_rounded() -> None:
    qkv, layout, expected = lca_case()
    (group,) = layout.groups
    with torch.autocast("cpu", torch.bfloat16):
        out = level_causal_attention(*(part.float() for part in qkv), group)
    assert out.dtype == torch.bfloat16
    assert relative_error(out, expected) < 0.01


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize("weights_at_once", [1, 90, 2**20])
@pytest.mark.parametrize("fake", [False, True])
def test_all_products_are_counted_in_pieces_of_any_size(
    fake: bool, weights_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two products forward, five backward: the weights again, and four gradients."""
    monkeypatch.setattr(attention_by_products, "_WEIGHTS_AT_ONCE", weights_at_once)
    samples, queries, keys = 2, 13, 29
    with fake_mode() if fake else nullcontext():
        query = torch.zeros(samples, queries, HEADS, WIDTH, dtype=torch.bfloat16)
        key = torch.zeros(samples, keys, HEADS, WIDTH, dtype=torch.bfloat16)
    with Meter() as meter:
        out = attention_by_products.attend_by_products(
            query.requires_grad_(), key.requires_grad_(), key
        )
        forward = meter.flops
        out.sum().backward()
    product = 2 * samples * HEADS * queries * keys * WIDTH
    assert forward == 2 * product
    assert meter.flops == 7 * product


@pytest.mark.parametrize("is_masked", [False, True])
def test_tensors_without_values_get_the_shapes_and_types_of_others(is_masked: bool) -> None:
    operations = torch.ops.dcs_common
    query, key, value = (x.flatten(1, 2).transpose(1, 2) for x in inputs(2, 5, 3, 8))
    mask = torch.zeros(query.shape[1], key.shape[1]).bfloat16() if is_masked else None
    given = (query, key, value, mask)
    out = operations.attend_by_products(*given)
    kinds = ("test_schema", "test_faketensor")
    torch.library.opcheck(operations.attend_by_products, given, test_utils=kinds)
    backward = (out, *given, out.clone())
    torch.library.opcheck(operations.attend_by_products_backward, backward, test_utils=kinds)
