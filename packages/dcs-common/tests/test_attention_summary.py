"""A set of keys may be replaced by its log-sum-exp and its average."""

import pytest
import torch
from torch import Tensor

from dcs_common.attention import attend_with_summary, attention_summary
from dcs_common.attention_reference import masked_attention
from dcs_common.training.meter import Meter

PATCHES, PIXELS, LATENTS, HEADS, WIDTH = 5, 11, 3, 2, 7


def randn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def tensors(patches: int = 1) -> list[Tensor]:
    """Queries, keys and values of pixels, keys and values of latents."""
    pixel_shape = (patches, PIXELS, HEADS, WIDTH)
    latent_shape = (PATCHES, LATENTS, HEADS, WIDTH)
    return [
        randn(*shape, seed=seed)
        for seed, shape in enumerate([pixel_shape] * 3 + [latent_shape] * 2)
    ]


@pytest.mark.parametrize("rows_at_once", [1, 4, 11, 1024])
def test_attention_over_both_sets_is_attention_over_their_union(rows_at_once: int) -> None:
    """Pixels are the same in every patch (the first depatchifier block), latents differ."""
    query, key, value, latent_key, latent_value = of = tensors()
    logit, summary = attention_summary(query, key, value, rows_at_once=rows_at_once)
    fast = attend_with_summary(query, logit, summary, latent_key, latent_value)
    plain = masked_attention(
        query.expand(PATCHES, -1, -1, -1),
        torch.cat([key.expand(PATCHES, -1, -1, -1), latent_key], dim=1),
        torch.cat([value.expand(PATCHES, -1, -1, -1), latent_value], dim=1),
        torch.zeros(PIXELS, PIXELS + LATENTS, dtype=torch.float64),
    )
    assert (fast - plain).abs().max() < 1e-9
    cotangent = randn(*plain.shape, seed=9).detach()
    for ours, theirs in zip(
        torch.autograd.grad(fast, of, cotangent),
        torch.autograd.grad(plain, of, cotangent),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-9


def test_summaries_may_differ_from_patch_to_patch() -> None:
    query, key, value, latent_key, latent_value = tensors(PATCHES)
    parts = [
        attention_summary(query[i : i + 1], key[i : i + 1], value[i : i + 1]) for i in range(5)
    ]
    logit, summary = (torch.cat(part) for part in zip(*parts, strict=True))
    fast = attend_with_summary(query, logit, summary, latent_key, latent_value)
    plain = masked_attention(
        query,
        torch.cat([key, latent_key], dim=1),
        torch.cat([value, latent_value], dim=1),
        torch.zeros(PIXELS, PIXELS + LATENTS, dtype=torch.float64),
    )
    assert (fast - plain).abs().max() < 1e-9


def test_summary_is_the_set_attended_to_alone() -> None:
    query, key, value, *_ = tensors()
    logit, summary = attention_summary(query, key, value)
    logits = torch.einsum("pqhc,pkhc->pqhk", query, key) / WIDTH**0.5
    assert (logit - logits.exp().sum(dim=-1).log()).abs().max() < 1e-9
    plain = masked_attention(query, key, value, torch.zeros(PIXELS, PIXELS, dtype=torch.float64))
    assert (summary - plain).abs().max() < 1e-9


def test_large_logits_do_not_overflow() -> None:
    query, key, value, latent_key, latent_value = (part.detach().float() for part in tensors())
    logit, summary = attention_summary(100 * query, 100 * key, value)
    out = attend_with_summary(100 * query, logit, summary, latent_key, latent_value)
    assert out.isfinite().all()


def test_pieces_of_queries_hold_no_weights_for_the_backward_pass() -> None:
    pixels = 97

    def held(rows_at_once: int) -> int:
        query, key, value = (randn(1, pixels, HEADS, WIDTH, seed=seed) for seed in range(3))
        with Meter() as meter:
            outputs = attention_summary(query, key, value, rows_at_once=rows_at_once)
            assert len(outputs) == 2
            return meter.held

    weights = HEADS * pixels * pixels * 8
    assert held(10) < 0.5 * weights
    assert held(pixels) > weights
