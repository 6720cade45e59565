"""Latent denoising: its distribution, and what it must leave alone (Eq. 7)."""

from math import inf, nan

import pytest
import torch
from torch import Tensor

from dcs_tok.denoising import LatentDenoising

from .errors import error
from .tiny_models import random_levels

SHAPE = (3, 2, 5, 7, 5, 2)
LEVELS = random_levels(*SHAPE[:4])
ACTIVE = torch.arange(SHAPE[4]) < LEVELS[..., None]


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def random_tokens(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    return tokens.where(ACTIVE[..., None], 0)


def test_the_noisy_latent_is_a_blend_with_one_share_per_sample() -> None:
    """From three latents and one seed: z' is linear in z with a slope per sample."""
    denoise, seeds = LatentDenoising(), (0, 1, 2)
    zero, one, two = (
        denoise(torch.full(SHAPE, value, dtype=torch.float64), LEVELS, generators(*seeds))
        for value in (0.0, 1.0, 2.0)
    )
    shares = []
    for sample, active in zip((one - zero), ACTIVE, strict=True):
        share = sample[active].flatten()
        assert share.max() - share.min() < 1e-12
        shares.append(share[0].item())
    assert len(set(shares)) == 3
    assert all(0 < share < 1 for share in shares)
    torch.testing.assert_close(two - zero, 2 * (one - zero), rtol=0, atol=1e-12)
    for noise, active, share in zip(zero, ACTIVE, shares, strict=True):
        values = noise[active] / (1 - share)  # e, at least 350 values of deviation 3
        assert abs(values.std().item() - 3) < 5 * 3 / (2 * values.numel()) ** 0.5
        assert abs(values.mean().item()) < 5 * 3 / values.numel() ** 0.5


@pytest.mark.parametrize("std", [3.0, 0.7])
def test_shares_are_uniform_and_noise_is_normal(std: float) -> None:
    """2000 samples of 6 numbers, against the distribution functions (Kolmogorov-Smirnov)."""
    denoise, count = LatentDenoising(std), 2000
    shape, levels = (count, 1, 1, 1, 2, 3), torch.full((count, 1, 1, 1), 2)
    zero, one = (
        denoise(torch.full(shape, value, dtype=torch.float64), levels, generators(*range(count)))
        for value in (0.0, 1.0)
    )
    share = (one - zero)[:, 0, 0, 0, 0, 0]
    noise = zero / (1 - share).view(-1, 1, 1, 1, 1, 1) / std
    for values, distribution in (
        (share, lambda x: x),
        (noise.flatten(), torch.special.ndtr),
    ):
        expected = distribution(values.sort().values)
        rank = torch.arange(values.numel(), dtype=torch.float64) / values.numel()
        assert (expected - rank).abs().max() < 2 / values.numel() ** 0.5
    correlations = torch.corrcoef(torch.cat([share[None], noise.flatten(1).T]))
    assert correlations.fill_diagonal_(0).abs().max() < 5 / count**0.5


def test_eval_mode_is_the_identity_and_draws_nothing() -> None:
    denoise, tokens, source = LatentDenoising(), random_tokens(), generators(0, 1, 2)
    states = [generator.get_state() for generator in source]
    assert denoise.eval()(tokens, LEVELS, source) is tokens
    assert all(torch.equal(g.get_state(), s) for g, s in zip(source, states, strict=True))
    assert not torch.equal(denoise.train()(tokens, LEVELS, source), tokens)
    assert not torch.equal(source[2].get_state(), states[2])


def test_batch_mates_do_not_matter() -> None:
    denoise, tokens = LatentDenoising(), random_tokens(1)
    together = denoise(tokens, LEVELS, generators(7, 8, 9))
    for i, seed in enumerate((7, 8, 9)):
        alone = denoise(tokens[i : i + 1], LEVELS[i : i + 1], generators(seed))
        assert torch.equal(together[i : i + 1], alone)


def test_later_levels_do_not_matter() -> None:
    """The noise of three levels is that of the first three of five: every patch, large or not."""
    denoise, tokens = LatentDenoising(), random_tokens(2)
    whole = denoise(tokens, LEVELS, generators(0, 1, 2))
    cut = denoise(tokens[..., :3, :], LEVELS.clamp(max=3), generators(0, 1, 2))
    assert torch.equal(whole[..., :3, :], cut)


def test_inactive_tokens_stay_zero_and_pass_no_gradient() -> None:
    tokens = random_tokens(3).requires_grad_()
    noisy = LatentDenoising()(tokens, LEVELS, generators(0, 1, 2))
    assert not noisy[~ACTIVE].any()
    assert noisy[ACTIVE].all()
    (gradient,) = torch.autograd.grad(noisy.sum(), tokens)
    assert not gradient[~ACTIVE].any()
    for sample, active in zip(gradient, ACTIVE, strict=True):
        assert sample[active].unique().numel() == 1
        assert 0 < sample[active].max() < 1


def test_a_seed_gives_the_same_noise_in_every_precision() -> None:
    denoise, tokens = LatentDenoising(), random_tokens(4)
    noisy = denoise(tokens, LEVELS, generators(0, 1, 2))
    state = torch.get_rng_state()
    single = denoise(tokens.float(), LEVELS, generators(0, 1, 2))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), noisy, rtol=0, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(denoise(tokens, LEVELS, generators(0, 1, 3))[2], noisy[2])


def test_without_noise_latents_shrink() -> None:
    tokens = random_tokens(5)
    shrunk = LatentDenoising(0.0)(tokens, LEVELS, generators(0, 1, 2))
    ratio = (shrunk / tokens)[ACTIVE]
    assert ratio.min() > 0
    assert ratio.max() < 1


@pytest.mark.parametrize("std", [-1.0, inf, nan])
def test_deviations_that_are_none(std: float) -> None:
    with error(f"`std` must be 0 or more and finite, but is {std}. The paper uses 3."):
        LatentDenoising(std)


def test_generators_are_counted() -> None:
    message = (
        "Denoising needs one generator per sample, but has 2 for 3 samples. Pass one for each."
    )
    with error(message):
        LatentDenoising()(random_tokens(), LEVELS, generators(0, 1))


def test_levels_of_another_shape() -> None:
    message = (
        "`tokens` must have the shape (b, t, h, w, n, d) and `levels` (b, t, h, w), but they "
        "have (3, 2, 5, 7, 5, 2) and (2, 5, 7). Pass both of one `Latents`."
    )
    with error(message):
        LatentDenoising()(random_tokens(), LEVELS[0], generators(0, 1, 2))
