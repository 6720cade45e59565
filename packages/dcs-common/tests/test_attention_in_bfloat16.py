"""Without gradients, attention in bfloat16 on a CPU is two products on pieces: the same softmax."""

import pytest
import torch
from torch import Tensor

import dcs_common.attention as attention
from dcs_common.attention import latent_to_pixel_attention, level_causal_attention
from dcs_common.attention_reference import additive, lca_mask, lpa_mask, masked_attention
from dcs_common.token_layout import TokenLayout

SAMPLES, SEGMENTS, ROWS, COLUMNS, LEVELS, HEADS, WIDTH = 2, 3, 1, 5, 3, 7, 11


def inputs(*shape: int) -> list[Tensor]:
    """Queries, keys and values in bfloat16."""
    return [
        torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()
        for seed in (1, 2, 3)
    ]


def relative_error(out: Tensor, expected: Tensor) -> float:
    return float((out.double() - expected).norm() / expected.norm())


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
    monkeypatch.setattr(attention, "_WEIGHTS_AT_ONCE", weights_at_once)
    qkv, layout, expected = lca_case()
    (group,) = layout.groups
    out = level_causal_attention(*qkv, group)
    assert out.dtype == torch.bfloat16
    assert out.shape == expected.shape
    assert relative_error(out, expected) < 0.01


def test_lpa_is_the_masked_softmax() -> None:
    pixels, latents = 13, 5
    qkv = inputs(3, pixels + latents, HEADS, WIDTH)
    exact = [part.double() for part in qkv]
    expected = masked_attention(*exact, additive(lpa_mask(pixels, latents), exact[0]))
    assert relative_error(latent_to_pixel_attention(*qkv, pixels), expected) < 0.01


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_each_input_gets_its_gradient(wanted: int) -> None:
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
