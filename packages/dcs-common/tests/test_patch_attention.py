"""PLA and LPA without masks are the paper's masked softmax; levels are causal inside a patch."""

from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor

from dcs_common.attention import (
    PixelAttention,
    causal_latent_attention,
    latent_to_pixel_attention,
    pixel_logit_bias,
    pixel_to_latent_attention,
)
from dcs_common.attention_reference import additive, lpa_mask, masked_attention, pla_mask

PATCHES, HEADS, WIDTH = 3, 2, 5
CASES = pytest.mark.parametrize(
    ("num_pixels", "num_latents"), [(1, 1), (7, 1), (7, 4), (13, 4), (2, 8)]
)
PIXELS = pytest.mark.parametrize("pixels", ["full", "self"])
BIAS = pytest.mark.parametrize("bias", [0.0, -1.7, 0.9])


def randn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def inputs(num_pixels: int, num_latents: int) -> list[Tensor]:
    shape = (PATCHES, num_pixels + num_latents, HEADS, WIDTH)
    return [randn(*shape, seed=seed).requires_grad_() for seed in (1, 2, 3)]


def biased(mask: Tensor, num_pixels: int, bias: float, *, latent_queries: bool) -> Tensor:
    """Add the dilution bias to the logits of pixel keys, for the queries that have it."""
    additive_mask = additive(mask, randn(1))
    rows = slice(num_pixels, None) if latent_queries else slice(num_pixels)
    additive_mask[rows, :num_pixels] += bias
    return additive_mask


def assert_same(fast: Tensor, plain: Tensor, of: list[Tensor]) -> None:
    """Values, and gradients for a random cotangent."""
    cotangent = randn(*plain.shape, seed=4)
    assert fast.shape == plain.shape
    assert (fast - plain).abs().max() < 1e-9
    for ours, theirs in zip(
        torch.autograd.grad(fast, of, cotangent, materialize_grads=True),
        torch.autograd.grad(plain, of, cotangent, materialize_grads=True),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-9


@CASES
@PIXELS
@BIAS
def test_pla_is_its_reference(
    num_pixels: int, num_latents: int, pixels: PixelAttention, bias: float
) -> None:
    qkv = inputs(num_pixels, num_latents)
    mask = pla_mask(num_pixels, num_latents, pixels)
    plain = masked_attention(*qkv, biased(mask, num_pixels, bias, latent_queries=True))
    fast = pixel_to_latent_attention(*qkv, num_pixels, pixels=pixels, bias=bias)
    assert_same(fast, plain, qkv)


@CASES
@PIXELS
@BIAS
def test_lpa_is_its_reference(
    num_pixels: int, num_latents: int, pixels: PixelAttention, bias: float
) -> None:
    qkv = inputs(num_pixels, num_latents)
    mask = lpa_mask(num_pixels, num_latents, pixels)
    plain = masked_attention(*qkv, biased(mask, num_pixels, bias, latent_queries=False))
    fast = latent_to_pixel_attention(*qkv, num_pixels, pixels=pixels, bias=bias)
    assert_same(fast, plain, qkv)


@CASES
@PIXELS
@BIAS
def test_last_blocks_compute_their_half_alone(
    num_pixels: int, num_latents: int, pixels: PixelAttention, bias: float
) -> None:
    """The last patchifier block needs latents only, the last depatchifier block pixels only."""
    query, key, value = qkv = inputs(num_pixels, num_latents)
    settings = {"pixels": pixels, "bias": bias}
    whole = pixel_to_latent_attention(*qkv, num_pixels, **settings)
    half = pixel_to_latent_attention(
        query[:, num_pixels:], key, value, num_pixels, latents_only=True, **settings
    )
    assert_same(half, whole[:, num_pixels:], qkv)
    whole = latent_to_pixel_attention(*qkv, num_pixels, **settings)
    half = latent_to_pixel_attention(
        query[:, :num_pixels], key, value, num_pixels, pixels_only=True, **settings
    )
    assert_same(half, whole[:, :num_pixels], qkv)


def perturbed(qkv: list[Tensor], patch: int, token: int) -> list[Tensor]:
    changed = [part.detach().clone() for part in qkv]
    for part in changed:
        part[patch, token] += 3
    return changed


def pla(qkv: list[Tensor], pixels: PixelAttention) -> Tensor:
    return pixel_to_latent_attention(*qkv, 3, pixels=pixels, bias=-0.5)


def lpa(qkv: list[Tensor], pixels: PixelAttention) -> Tensor:
    return latent_to_pixel_attention(*qkv, 3, pixels=pixels, bias=-0.5)


@PIXELS
@pytest.mark.parametrize(("attention", "mask_of"), [(pla, pla_mask), (lpa, lpa_mask)])
def test_a_token_changes_exactly_what_may_see_it(
    attention: Callable[[list[Tensor], PixelAttention], Tensor],
    mask_of: Callable[..., Tensor],
    pixels: PixelAttention,
) -> None:
    """To the last bit: no level above, no other patch, and in PLA no latent seen by a pixel."""
    qkv = [part.detach() for part in inputs(3, 4)]
    before, may_attend = attention(qkv, pixels), mask_of(3, 4, pixels)
    for token in range(7):
        after = attention(perturbed(qkv, 1, token), pixels)
        changed = (after != before).flatten(2).any(dim=2)
        expected = torch.zeros(PATCHES, 7, dtype=torch.bool)
        expected[1] = may_attend[:, token]
        assert torch.equal(changed, expected)


@pytest.mark.parametrize("first", [0, 3])
def test_causal_latent_attention_is_the_triangle(first: int) -> None:
    qkv = inputs(first, 5)
    triangle = additive(torch.ones(5, 5, dtype=torch.bool).tril(), randn(1))
    plain = masked_attention(*(part[:, first:] for part in qkv), triangle)
    assert_same(causal_latent_attention(*qkv, first), plain, qkv)


def test_fewer_latents_give_the_prefix_of_more() -> None:
    """An encoder asked for m levels computes m levels."""
    qkv = inputs(7, 4)
    whole = pixel_to_latent_attention(*qkv, 7)
    some = pixel_to_latent_attention(*(part[:, :9] for part in qkv), 7)
    assert (some - whole[:, :9]).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("num_pixels", "reference", "bias"),
    [(256, None, 0.0), (256, 256, 0.0), (1024, 256, -log(4)), (64, 256, log(4))],
)
def test_bias_undoes_the_dilution_by_pixel_keys(
    num_pixels: int, reference: int | None, bias: float
) -> None:
    assert pixel_logit_bias(num_pixels, reference) == pytest.approx(bias, abs=1e-12)


def test_with_the_bias_repeated_pixels_weigh_no_more_than_single_ones() -> None:
    """Four equal copies of every pixel, at four times the area: latents see the same mixture."""
    query, key, value = (part.detach() for part in inputs(7, 3))
    copied = [
        torch.cat([part[:, :7].repeat(1, 4, 1, 1), part[:, 7:]], dim=1)
        for part in (query, key, value)
    ]
    once = pixel_to_latent_attention(query, key, value, 7, bias=pixel_logit_bias(7, 7))
    often = pixel_to_latent_attention(*copied, 28, bias=pixel_logit_bias(28, 7))
    diluted = pixel_to_latent_attention(*copied, 28)
    assert (often[:, 28:] - once[:, 7:]).abs().max() < 1e-9
    assert (diluted[:, 28:] - once[:, 7:]).abs().max() > 1e-2
