"""The task's losses: Eq. 6 put together, the same in any division of a step."""

from dataclasses import replace

import pytest
import torch

from dcs_common.training import Share
from dcs_tok.discriminator import PatchDiscriminatorConfig
from dcs_tok.losses.adversarial import hinge_generator_loss
from dcs_tok.losses.margin import margin_loss
from dcs_tok.training import LevelSampling, LossWeights, TokenizerTask

from .tiny_models import CONFIGS, perturbed, random_levels, random_pixels
from .training_runs import batch, gradients, part, recipe

SMALL = PatchDiscriminatorConfig(width=4, strided_layers=1)
ALL = LossWeights(
    adversarial=0.2, margin_weight=0.5, margin=0.3, denoise_std=3.0, discriminator=SMALL
)
CLOSE = {"rtol": 0, "atol": 1e-9}


def _task(losses: LossWeights, name: str = "nano", draw: str = "stratified") -> TokenizerTask:
    levels = LevelSampling(draw=draw)
    task = TokenizerTask(perturbed(CONFIGS[name]()).train(), recipe(name, losses, levels))
    for network in task.networks.values():
        network.double()
    return task


def _backward(task: TokenizerTask, share: Share, samples: object) -> dict[str, dict]:
    seen = {}
    for name, loss, scalars in task.losses(samples, share, task.networks):
        loss.backward()
        seen[name] = {"loss": loss.detach(), **scalars}
    return seen


@pytest.mark.parametrize("draw", ["stratified", "independent", "sample"])
def test_a_step_is_the_same_in_any_division(draw: str) -> None:
    losses = LossWeights(denoise_std=3.0)
    whole, halves = _task(losses, draw=draw), _task(losses, draw=draw)
    samples = batch(4)
    _backward(whole, Share(3, 0, 4, 4), samples)
    for start in (0, 2):
        _backward(halves, Share(3, start, start + 2, 4), part(samples, start, start + 2))
    expected = gradients(whole.tok)
    found = gradients(halves.tok)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name] / 2, gradient, **CLOSE)


def test_another_step_draws_other_levels_and_noise() -> None:
    task, samples = _task(LossWeights(denoise_std=3.0)), batch(4)
    losses = [
        _backward(task, Share(step, 0, 4, 4), samples)["tokenizer"]["loss"] for step in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    task = _task(ALL)
    (name, total, terms), *_ = task.losses(batch(), Share(0, 0, 4, 4), task.networks)
    assert name == "tokenizer"
    expected = (
        terms["reconstruction"]
        + 0.2 * terms["adaptive_weight"] * terms["adversarial"]
        + 0.5 * terms["margin"]
    )
    torch.testing.assert_close(total.detach(), expected, **CLOSE)
    assert all(float(term) != 0 for term in terms.values())


def test_the_margin_looks_at_latents_as_they_are_encoded() -> None:
    task = _task(LossWeights(margin_weight=1.0, margin=0.3, denoise_std=3.0))
    samples, share = batch(), Share(0, 0, 4, 4)
    (_, _, terms), *_ = task.losses(samples, share, task.networks)
    levels = task._level_map(samples, share)
    tokens = task.tok.encode(samples.pixels, levels=levels, patches=3).tokens
    torch.testing.assert_close(terms["margin"], margin_loss(tokens, levels, 0.3), **CLOSE)


def test_tokenizer_and_discriminator_learn_from_their_own_losses_only() -> None:
    task = _task(replace(ALL, denoise_std=0.0))
    critic = task.networks["discriminator"]
    losses = task.losses(batch(), Share(0, 0, 4, 4), task.networks)
    _, loss, terms = next(losses)
    loss.backward()
    assert gradients(task.tok)
    assert not gradients(critic)
    task.tok.zero_grad()
    name, loss, _ = next(losses)
    assert name == "discriminator"
    loss.backward()
    assert gradients(critic)
    assert not gradients(task.tok)
    assert next(losses, None) is None
    assert float(terms["adversarial"]) != 0


def test_the_adversarial_term_waits_for_its_step() -> None:
    task = _task(replace(ALL, adversarial_start=2))
    for step, plays in ((1, False), (2, True)):
        seen = _backward(task, Share(step, 0, 4, 4), batch())
        assert ("discriminator" in seen) == plays
        assert ("adversarial" in seen["tokenizer"]) == plays


def test_the_generator_s_loss_is_the_critic_s_verdict() -> None:
    task = _task(replace(ALL, denoise_std=0.0))
    samples, share = batch(), Share(0, 0, 4, 4)
    critic = task.networks["discriminator"].eval()
    reconstruction, _ = task._reconstruct(samples, share, task.tok, None)
    (_, _, terms), *_ = task.losses(samples, share, task.networks)
    expected = hinge_generator_loss(critic(reconstruction)).detach()
    torch.testing.assert_close(terms["adversarial"], expected, **CLOSE)


def test_targets_may_have_another_scale() -> None:
    task = _task(LossWeights())
    samples = batch(target=(19, 25))
    (_, total, _), *_ = task.losses(samples, Share(0, 0, 4, 4), task.networks)
    levels = task._level_map(samples, Share(0, 0, 4, 4))
    rebuilt, _ = task.tok(samples.pixels, levels=levels, patches=3, size=(19, 25))
    expected = (rebuilt - samples.target).square().mean()
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("name", ["nano", "paper"])
def test_a_frozen_encoder_keeps_its_latents(name: str) -> None:
    tok = perturbed(CONFIGS[name]())
    pixels = random_pixels(2, 3, 13, 17)
    before = tok.encode(pixels).tokens
    task = TokenizerTask(tok.train(), replace(recipe(name), freezes_encoder=True))
    learns = [parameter for parameter in tok.parameters() if parameter.requires_grad]
    assert learns
    optimizer = torch.optim.SGD(learns, lr=0.1)
    decoded = tok.decode(tok.encode(pixels))
    for step in range(2):
        optimizer.zero_grad()
        _backward(task, Share(step, 0, 4, 4), batch())
        optimizer.step()
    torch.testing.assert_close(tok.encode(pixels).tokens, before, rtol=0, atol=1e-12)
    assert not torch.equal(tok.decode(tok.encode(pixels)), decoded)


def test_measuring_is_without_noise() -> None:
    task = _task(LossWeights(denoise_std=3.0))
    task.validation = [random_pixels(1, 3, 13, 17)]
    model = task.tok.eval()
    found = task.validate(model)
    assert found == task.validate(model)
    assert sorted(found) == ["psnr_1", "psnr_2", "psnr_5"]
    shown = task.images(batch(), model)["reconstruction"]
    assert shown.shape == (4, 3, 4 * 13, 17)
    assert torch.equal(shown[:, :, :13], batch().pixels)


@pytest.mark.parametrize("name", ["nano", "nano_transformer", "paper"])
@pytest.mark.parametrize("fps", [None, 5])
def test_recomputed_activations_give_the_same_gradients(name: str, fps: int | None) -> None:
    shape = (2, 3, 13, 17) if fps is None else (1, 3, 6, 13, 17)
    tok, pixels = perturbed(CONFIGS[name]()).train(), random_pixels(*shape)
    levels = random_levels(len(pixels), *tok.encode(pixels, fps=fps, levels=1).grid)
    found, kept = [], []
    for tok.checkpoint_activations in (False, True):
        size = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal size
            size += tensor.numel()
            return tensor

        tok.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            rebuilt, _ = tok(pixels, fps, levels)
        kept.append(size)
        rebuilt.square().mean().backward()
        found.append(gradients(tok))
    assert kept[1] < kept[0]
    assert found[0].keys() == found[1].keys()
    for parameter, gradient in found[0].items():
        torch.testing.assert_close(found[1][parameter], gradient, **CLOSE)
