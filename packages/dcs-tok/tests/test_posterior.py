"""Latents with a variance: draws, divergence, and the mean as the latent that is used."""

from dataclasses import replace
from math import log, pi
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.entry_points import find_tokenizer
from dcs_common.protocols import ImageTokenizer
from dcs_tok import DCSTok, PosteriorTokenizer
from dcs_tok.losses.kl import kl_loss
from dcs_tok.posterior import INITIAL_LOG_VARIANCE, draw_latents

from .errors import error
from .tiny_models import (
    CHANNELS,
    CONFIGS,
    LEVELS,
    fresh,
    perturbed,
    random_levels,
    random_pixels,
)

NAMES = ("paper", "nano", "nano_transformer", "beside_linear")
SHAPE = (2, 1, 3, 2, 5, 7)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def posterior(levels: Tensor, seed: int = 0) -> Tensor:
    """Random means and positive deviations under a level map, float64."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    deviation = torch.rand(SHAPE, generator=generator, dtype=torch.float64) + 0.1
    active = (torch.arange(SHAPE[4]) < levels[..., None])[..., None]
    return torch.cat([mean, deviation], dim=-1).where(active, 0)


def with_variances(name: str, dtype: torch.dtype = torch.float64) -> DCSTok:
    return perturbed(replace(CONFIGS[name](), posterior=True), dtype)


# ------------------------------------------------------------------ arithmetic


def divergence_by_quadrature(mean: float, deviation: float) -> float:
    """Integrate p log(p / q) over N(mean, deviation^2), against N(0, 1)."""
    z = torch.linspace(-12, 12, 4_001, dtype=torch.float64)
    density = (-z.square() / 2).exp() / (2 * pi) ** 0.5
    ratio = (mean + deviation * z).square() / 2 - z.square() / 2 - log(deviation)
    return float(torch.trapezoid(density * ratio, z))


@given(
    st.floats(-9, 9), st.floats(0.01, 9), st.floats(-9, 9), st.floats(0.01, 9), st.integers(1, 2)
)
def test_the_divergence_is_that_from_unit_noise(
    first: float, second: float, third: float, fourth: float, levels: int
) -> None:
    """Two levels of one channel; a level above the map does not count, whatever it holds."""
    values = [(first, second), (third, fourth)]
    tokens = torch.tensor(values, dtype=torch.float64).view(1, 1, 1, 1, 2, 2)
    found = kl_loss(tokens, torch.full((1, 1, 1, 1), levels))
    expected = sum(divergence_by_quadrature(*value) for value in values[:levels]) / levels
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_zeros_above_the_level_map_leave_the_divergence_and_its_gradient_finite() -> None:
    levels = random_levels(*SHAPE[:4])
    tokens = posterior(levels).requires_grad_()
    kl_loss(tokens, levels).backward()
    active = torch.arange(SHAPE[4]) < levels[..., None]
    count = active.sum() * SHAPE[5]
    mean, deviation = tokens.detach().chunk(2, dim=-1)
    expected = torch.cat([mean, deviation - 1 / deviation], dim=-1) / count
    torch.testing.assert_close(tokens.grad, expected.where(active[..., None], 0))


def test_draws_have_the_mean_and_deviation_of_their_latent() -> None:
    levels = torch.full((1, 1, 3, 2), 5)
    tokens = posterior(torch.full(SHAPE[:4], 5))[:1]
    mean, deviation = tokens.chunk(2, dim=-1)
    count = 2_000
    one = generators(5) * count
    noise = (
        draw_latents(tokens.expand(count, *tokens.shape[1:]), levels.expand(count, -1, -1, -1), one)
        - mean
    ) / deviation
    assert noise.mean().abs() < 5 / noise.numel() ** 0.5
    assert (noise.mean(dim=0).abs() < 5 / count**0.5).all()
    assert (noise.std(dim=0) - 1).abs().max() < 5 / (2 * count) ** 0.5


def test_a_draw_is_differentiable_in_mean_and_deviation() -> None:
    levels = random_levels(*SHAPE[:4])
    tokens = posterior(levels).requires_grad_()
    drawn = draw_latents(tokens, levels, generators(1, 2))
    drawn.sum().backward()
    active = (torch.arange(SHAPE[4]) < levels[..., None])[..., None].expand(SHAPE)
    mean, deviation = tokens.detach().chunk(2, dim=-1)
    by_mean, by_deviation = tokens.grad.chunk(2, dim=-1)
    assert torch.equal(by_mean, active.double())
    assert torch.equal(by_deviation.where(active, 0), by_deviation)
    rebuilt = mean + deviation * by_deviation  # the gradient of the deviation is the noise
    torch.testing.assert_close(rebuilt.where(active, 0), drawn.detach())


def test_a_sample_s_draw_knows_neither_batch_mates_nor_higher_levels() -> None:
    levels = torch.full(SHAPE[:4], 5)
    tokens = posterior(levels)
    whole = draw_latents(tokens, levels, generators(3, 4))
    assert torch.equal(draw_latents(tokens[1:], levels[1:], generators(4)), whole[1:])
    prefix = draw_latents(tokens[..., :2, :], levels.clamp(max=2), generators(3, 4))
    assert torch.equal(prefix, whole[..., :2, :])
    assert not torch.equal(draw_latents(tokens, levels, generators(5, 4))[0], whole[0])


@pytest.mark.parametrize(("channels", "count"), [(5, 2), (14, 1), (14, 3)])
def test_draws_that_lack_a_deviation_or_a_generator(channels: int, count: int) -> None:
    message = (
        "A draw needs a mean and a deviation for each channel and one generator per sample, but "
        f"has {channels} channels and {count} generators for 2 samples. Pass what `latents_of` "
        "gives."
    )
    levels = torch.full(SHAPE[:4], 5)
    with error(message):
        draw_latents(torch.ones(*SHAPE[:5], channels), levels, generators(*range(count)))


# ------------------------------------------------------------------ the tokenizer


@pytest.mark.parametrize("name", NAMES)
def test_encoding_gives_the_means_and_decoding_uses_them(name: str) -> None:
    tok = with_variances(name)
    both = PosteriorTokenizer(tok)
    pixels = random_pixels(2, 3, 14, 19)
    levels = random_levels(2, 1, 3, 4)
    latents, whole = tok.encode(pixels, levels=levels), both.encode(pixels, levels=levels)
    assert whole.tokens.shape == (*latents.tokens.shape[:5], 2 * CHANNELS)
    assert torch.equal(whole.tokens[..., :CHANNELS], latents.tokens)
    deviations = whole.tokens[..., CHANNELS:]
    active = (torch.arange(latents.num_levels) < levels[..., None])[..., None]
    assert torch.equal(deviations > 0, active.expand_as(deviations))
    assert deviations.unique().numel() > deviations.numel() / 4
    expected = tok.decode(latents, (11, 23))
    for decoder in (tok, both):
        assert torch.equal(decoder.decode(whole, (11, 23)), expected)
    assert torch.equal(both.decode(latents, (11, 23)), expected)
    for step, other in zip(
        tok.decode_progressive(whole), tok.decode_progressive(latents), strict=True
    ):
        assert torch.equal(step.pixels, other.pixels)


def test_variances_take_no_part_in_the_means() -> None:
    """A model without them, with the half of the head that gives means, encodes the same."""
    tok, plain = with_variances("nano"), perturbed(CONFIGS["nano"]())
    state = tok.state_dict()
    for name in ("weight", "bias"):
        key = f"encoder_networks.still.tokens_out.{name}"
        halves = state[key].unflatten(0, (LEVELS, 2, CHANNELS))
        state[key] = halves[:, 0].flatten(0, 1)
        state[key.replace("still", "moving")] = plain.state_dict()[key.replace("still", "moving")]
    plain.load_state_dict(state)
    pixels = random_pixels(1, 3, 14, 19)
    torch.testing.assert_close(tok.encode(pixels).tokens, plain.encode(pixels).tokens)


def test_clips_have_variances_too() -> None:
    tok = with_variances("nano")
    pixels = random_pixels(1, 3, 5, 12, 15)
    whole = PosteriorTokenizer(tok).encode(pixels, 6)
    assert torch.equal(whole.tokens[..., :CHANNELS], tok.encode(pixels, 6).tokens)
    assert torch.equal(tok.decode(whole, fps=9), tok.decode(tok.encode(pixels, 6), fps=9))


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_model_starts_with_little_variance(name: str) -> None:
    config = replace(CONFIGS[name](), posterior=True)
    tokens = fresh(config).latents_of(random_pixels(1, 3, 12, 12, dtype=torch.float32)).tokens
    expected = torch.tensor(INITIAL_LOG_VARIANCE / 2).exp()
    assert torch.equal(tokens[..., CHANNELS:], expected.expand_as(tokens[..., CHANNELS:]))
    assert tokens[..., :CHANNELS].std() > 0.01


def test_variances_stay_finite_whatever_the_encoder_says() -> None:
    tok = with_variances("nano", torch.float32)
    with torch.no_grad():
        tok.encoder_networks["still"].tokens_out.weight.mul_(1e6)
    tokens = tok.latents_of(random_pixels(1, 3, 12, 12, dtype=torch.float32)).tokens
    deviations = tokens[..., CHANNELS:]
    assert deviations.min() == torch.tensor(-15.0).exp()
    assert deviations.max() == torch.tensor(10.0).exp()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_head_of_the_variances(name: str) -> None:
    tok = with_variances(name).train()
    seeds = generators(1)

    def draw(latents: object) -> Tensor:
        return draw_latents(latents.tokens, latents.levels, seeds)

    rebuilt, _ = tok(random_pixels(1, 3, 12, 12), disturb=draw)
    rebuilt.square().mean().backward()
    networks = tok.encoder_networks
    head = (tok.encoder if networks is None else networks["still"]).tokens_out
    gradient = head.bias.grad.view(-1, 2, CHANNELS)[:, 1]
    assert (gradient != 0).all()


def test_other_channels_are_still_refused() -> None:
    plain, variances = perturbed(CONFIGS["nano"]()), with_variances("nano")
    whole = variances.latents_of(random_pixels(1, 3, 12, 12))
    with error(
        f"Latents must have {CHANNELS} channels for this model, but have {2 * CHANNELS}. "
        "Decode them with the model that made them."
    ):
        plain.decode(whole)


# ------------------------------------------------------------------ the entry point


def test_a_saved_model_is_found_by_its_entry_point(tmp_path: Path) -> None:
    with_variances("nano", torch.float32).save_pretrained(tmp_path)
    found = find_tokenizer("dcs-tok-posterior", str(tmp_path))
    plain = DCSTok.from_pretrained(tmp_path)
    assert plain.config.posterior
    assert isinstance(found, ImageTokenizer)
    assert (found.config.num_levels, found.config.latent_channels) == (LEVELS, 2 * CHANNELS)
    pixels = random_pixels(1, 3, 12, 15, dtype=torch.float32)
    latents = found.encode(pixels)
    assert latents.tokens.shape[5] == found.config.latent_channels
    assert latents.tokenizer == found.fingerprint == plain.fingerprint
    assert not latents.tokens.requires_grad
    assert torch.equal(plain.decode(latents), plain.decode(plain.encode(pixels)))


def test_models_without_variances_are_refused(tmp_path: Path) -> None:
    with error(
        "The tokenizer must have been made with `posterior=True`, but was not. "
        "Take a model that the recipe nano-kl trained."
    ):
        PosteriorTokenizer(perturbed(CONFIGS["nano"]()))
    with error(
        "`dcs-tok-posterior` must be given a model, as no bundled one has variances, but got "
        "none. Name the folder that `dcs-tok train nano-kl` wrote."
    ):
        find_tokenizer("dcs-tok-posterior", None)
