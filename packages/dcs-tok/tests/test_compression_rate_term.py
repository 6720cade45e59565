"""Rate and distortion put together, and what training draws for it."""

from dataclasses import replace
from math import log

import pytest
import torch

from dcs_common.training import Share, sample_generators
from dcs_tok.compression.quantiser import ZERO_ZONE, segment_steps, step_of_quality
from dcs_tok.decoding_target import still_segments
from dcs_tok.losses.rate import laplace_bits
from dcs_tok.losses.reconstruction import LOG_FLOOR
from dcs_tok.training import LevelSampling, LossWeights, TokenizerTask
from dcs_tok.training.rate_term import QUALITIES, ZERO_ZONES, RateTerm, active

from .small_codec import random_context, small_tok, waves
from .tiny_models import CONFIGS, perturbed
from .training_runs import batch, gradients, part, recipe

SHARE = Share(3, 0, 2, 2)


def rate_term(count: int = 2, seed: int = 0) -> RateTerm:
    share = Share(3, 0, count, count)
    return RateTerm(small_tok(), sample_generators(seed, share, "rate"))


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Collect the symbols whose bits are counted: latents in steps, with noise."""
    seen: list[torch.Tensor] = []

    def watched(symbols: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        seen.append(symbols)
        return laplace_bits(symbols, *others)

    monkeypatch.setattr("dcs_tok.training.rate_term.laplace_bits", watched)
    return seen


def test_j_is_error_plus_bits_at_the_price_of_the_step(noisy: list[torch.Tensor]) -> None:
    """With every number put together by hand: J = D + kappa step^2 bits / canonical values."""
    tok, kappa = small_tok(), 0.1
    pixels = torch.cat([waves(8, 12, seed=i) for i in range(2)])
    levels = torch.tensor([[[3, 1, 2], [1, 2, 3]]] * 2).unsqueeze(1)
    latents = tok.encode(pixels, levels=levels, patches=2)
    rate = rate_term()
    draws = sample_generators(0, Share(3, 0, 2, 2), "rate")
    mean, log_scale = torch.zeros_like(latents.tokens), torch.full_like(latents.tokens, 0.3)
    decoded = rate.dequantised(latents)
    rebuilt = tok.reconstruct(replace(latents, tokens=decoded))
    found, of_a_patch = rate.cost(rebuilt, pixels, latents, mean, log_scale, kappa)

    expected, all_bits = [], []
    for i, generator in enumerate(draws):
        quality = int(torch.randint(QUALITIES[0], QUALITIES[1] + 1, (), generator=generator))
        low, high = ZERO_ZONES
        zone = low + (high - low) * torch.rand(1, 1, 1, 1, 1, generator=generator)
        step = step_of_quality(quality)
        scaled = latents.tokens[i] / (segment_steps(tok, latents) * step)
        symbols = scaled.round() * (scaled.abs() >= zone)
        torch.testing.assert_close(decoded[i], symbols * segment_steps(tok, latents) * step)
        noise = noisy[0][i] - scaled
        assert -0.5 <= noise.min() < -0.4 < 0.4 < noise.max() <= 0.5
        paid = laplace_bits(noisy[0][i], mean[i], log_scale[i]) * active(latents)[i]
        error = (rebuilt[i] - pixels[i]).square().mean()
        rate_of_values = paid.sum() / (6 * 3 * 4 * 4)  # six patches of 4 x 4 canonical pixels
        expected.append((error + kappa * step**2 * rate_of_values + LOG_FLOOR).log())
        all_bits.append(paid.sum())
        assert int(rate.quality[i]) == quality
    torch.testing.assert_close(found, sum(expected) / 2)
    torch.testing.assert_close(of_a_patch, sum(all_bits) / 12)


def test_tokens_above_a_patch_s_count_cost_nothing() -> None:
    tok = small_tok()
    latents = tok.encode(waves(8, 12), levels=torch.tensor([[[3, 1, 2], [1, 2, 3]]]), patches=2)
    held = active(latents)[0, 0, ..., 0].sum(dim=-1)
    assert held.tolist() == [[3, 1, 2], [1, 2, 3]]


def test_quantisation_passes_gradients_as_they_are() -> None:
    tok = small_tok()
    latents = tok.encode(waves(8, 12), patches=2)
    tokens = latents.tokens.clone().requires_grad_()
    rate_term(1).dequantised(replace(latents, tokens=tokens)).sum().backward()
    torch.testing.assert_close(tokens.grad, torch.ones_like(tokens))


def test_draws_lie_in_their_ranges_and_differ() -> None:
    rate = rate_term(64)
    assert QUALITIES[0] <= int(rate.quality.min()) < int(rate.quality.max()) <= QUALITIES[1]
    assert len(rate.quality.unique()) > 30
    assert ZERO_ZONES[0] <= float(rate.zero_zone.min()) < float(rate.zero_zone.max())
    assert float(rate.zero_zone.max()) <= ZERO_ZONES[1]
    assert ZERO_ZONES[0] < ZERO_ZONE < ZERO_ZONES[1]
    quality, area = rate.conditions(small_tok().encode(waves(8, 12), patches=2))
    assert torch.equal(quality, rate.quality)
    assert set(area.tolist()) == {4}  # 96 pixels in six patches


def test_a_moving_patch_pays_for_the_canonical_values_it_has(noisy: list[torch.Tensor]) -> None:
    """Three frames at 3 fps: a segment of one frame, 48 canonical values, and one of two, 96."""
    tok = small_tok()
    pixels = torch.stack([waves(8, 8, seed=i) for i in range(3)], dim=2)
    latents = tok.encode(pixels, 3, patches=1)
    still = still_segments(latents, tok.config.segments_per_second)
    assert sorted(still) == [False, True]
    rate, zeros = rate_term(1), torch.zeros_like(latents.tokens)
    rate.dequantised(latents)
    found, _ = rate.cost(pixels, pixels, latents, zeros, zeros, 0.1)
    paid = laplace_bits(noisy[0], zeros, zeros).sum(dim=(2, 3, 4, 5))[0]
    rates = [float(bits) / (48 if kind else 96) for bits, kind in zip(paid, still, strict=True)]
    step = step_of_quality(int(rate.quality[0]))
    assert float(found) == pytest.approx(log(0.1 * step**2 * sum(rates) / 2 + LOG_FLOOR), abs=1e-4)


# ---------------------------------------------------------------- the task


def rate_task(seed: int = 0) -> TokenizerTask:
    losses = LossWeights(reconstruction="log_l2", rate=0.1)
    levels = LevelSampling(draw="sample", weights="equal", full_share=0.5)
    tok = perturbed(CONFIGS["nano"]()).train()
    task = TokenizerTask(tok, recipe("nano", losses, levels))
    state = random_context(5, 7, 48, seed, 0.05).state_dict()
    task.networks["context"].load_state_dict(state)
    for network in task.networks.values():
        network.double()
    return task


def test_tokenizer_and_context_network_learn_from_a_loss_each() -> None:
    task = rate_task()
    context = task.networks["context"]
    losses = task.losses(batch(), Share(0, 0, 4, 4), task.networks)
    name, loss, terms = next(losses)
    assert name == "tokenizer"
    assert terms.keys() == {"reconstruction", "bits"}
    loss.backward()
    assert gradients(task.tok)
    assert not gradients(context)
    task.tok.zero_grad()
    name, loss, terms = next(losses)
    assert (name, terms.keys()) == ("context", {"context_bits"})
    loss.backward()
    assert not any(gradient.any() for gradient in gradients(task.tok).values())
    found = gradients(context)
    assert found.keys() == dict(context.named_parameters()).keys()
    # Pictures have no segment before; the last level has no next one.
    assert all(gradient.any() for name, gradient in found.items() if ".before" not in name)
    assert next(losses, None) is None


@pytest.mark.parametrize("network", ["tokenizer", "context"])
def test_a_rate_step_is_the_same_in_any_division(network: str) -> None:
    """Level counts differ from sample to sample, and so between shares."""
    whole, halves = rate_task(), rate_task()
    samples = batch(4)
    for task, shares in (
        (whole, [Share(3, 0, 4, 4)]),
        (halves, [Share(3, 0, 2, 4), Share(3, 2, 4, 4)]),
    ):
        for share in shares:
            drawn = part(samples, share.start, share.stop)
            for name, loss, _ in task.losses(drawn, share, task.networks):
                assert name in task.networks
                loss.backward()
    expected = gradients(whole.networks[network])
    found = gradients(halves.networks[network])
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name] / 2, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (2, 3), (3, 7)])
def test_draws_belong_to_samples(start: int, stop: int) -> None:
    tok = small_tok()
    whole = RateTerm(tok, sample_generators(0, Share(5, 0, 7, 7), "rate"))
    some = RateTerm(tok, sample_generators(0, Share(5, start, stop, 7), "rate"))
    assert torch.equal(some.quality, whole.quality[start:stop])
    assert torch.equal(some.zero_zone, whole.zero_zone[start:stop])
