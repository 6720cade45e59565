"""Eq. 6 and 7 against the loss functions called by hand, on pictures, pairs and clips."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dcs_common.training import Share, sample_generators
from dcs_tok.data import TrainingBatch
from dcs_tok.denoising import LatentDenoising
from dcs_tok.discriminator import PatchDiscriminatorConfig
from dcs_tok.losses.adversarial import (
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
)
from dcs_tok.losses.margin import margin_loss
from dcs_tok.losses.perceptual import PerceptualLoss
from dcs_tok.losses.reconstruction import reconstruction_loss
from dcs_tok.training import LossWeights, TokenizerTask

from .errors import error
from .random_trunk import random_trunk
from .tiny_models import CONFIGS, perturbed, random_pixels
from .training_runs import batch, gradients, recipe

CLOSE = {"rtol": 0, "atol": 1e-9}
WINDOW = 17
ALL = LossWeights(
    perceptual=0.7,
    perceptual_trunk="squeeze",
    perceptual_size=WINDOW,
    adversarial=0.3,
    discriminator=PatchDiscriminatorConfig(width=4, strided_layers=1),
    margin_weight=0.5,
    margin=0.2,
    denoise_std=3.0,
)
SHARE = Share(3, 0, 2, 2)


@pytest.fixture(scope="module")
def perceptual(tmp_path_factory: pytest.TempPathFactory) -> PerceptualLoss:
    file = tmp_path_factory.mktemp("trunk") / "squeezenet.safetensors"
    save_file(random_trunk(), file)
    return PerceptualLoss("squeeze", trunk_weights=file, max_size=WINDOW).double()


def picture() -> TrainingBatch:
    pixels = random_pixels(2, 3, 19, 23)
    return replace(batch(2), pixels=pixels, target=pixels)


def smaller_source() -> TrainingBatch:
    return batch(2, target=(29, 37))


def clip() -> TrainingBatch:
    pixels = random_pixels(2, 3, 5, 19, 23)
    return replace(picture(), pixels=pixels, target=pixels, fps=Fraction(4), target_fps=Fraction(4))


def faster_and_larger_target() -> TrainingBatch:
    """Five frames at 4 a second are seven at 5."""
    target = random_pixels(2, 3, 7, 29, 35, seed=1)
    return replace(clip(), target=target, target_fps=Fraction(5))


def _task(
    losses: LossWeights, name: str = "nano", perceptual: PerceptualLoss | None = None
) -> TokenizerTask:
    tok = perturbed(CONFIGS[name]()).train()
    task = TokenizerTask(tok, recipe(name, losses), perceptual=perceptual)
    for network in task.networks.values():
        network.double()
    if losses.adversarial:
        task.networks["discriminator"].eval()  # judges alike however often it is asked
    return task


def _by_hand(
    task: TokenizerTask, samples: TrainingBatch, perceptual: PerceptualLoss
) -> dict[str, Tensor]:
    """Put Eq. 6 together in plain steps."""
    tok, seed = task.tok, task.recipe.training.seed
    levels = task._level_map(samples, SHARE)
    _, latents = tok(samples.pixels, samples.fps, levels, samples.patches)
    draws = sample_generators(seed, SHARE, "denoise")
    noisy = LatentDenoising(3.0).train()(latents.tokens, levels, draws)
    height, width = samples.target.shape[-2:]
    decoded = replace(latents, tokens=noisy)
    rebuilt = tok.reconstruct(decoded, (height, width), samples.target_fps)
    windows = sample_generators(seed, SHARE, "perceptual")
    found = {
        "reconstruction": reconstruction_loss(rebuilt, samples.target),
        "perceptual": perceptual(rebuilt, samples.target, windows),
        "adversarial": hinge_generator_loss(task.networks["discriminator"](rebuilt)),
        "margin": margin_loss(latents.tokens, levels, 0.2),
    }
    main = found["reconstruction"] + 0.7 * found["perceptual"]
    last = tok.last_layer(moving=samples.fps is not None)
    found["adaptive_weight"] = adaptive_weight(main, found["adversarial"], last)
    pulled = 0.3 * found["adaptive_weight"] * found["adversarial"]
    found["total"] = main + pulled + 0.5 * found["margin"]
    return found


@pytest.mark.parametrize("drawn", [picture, smaller_source, clip, faster_and_larger_target])
@pytest.mark.parametrize("name", ["nano", "paper"])
def test_every_term_is_its_loss_function_s(
    name: str, drawn: Callable[[], TrainingBatch], perceptual: PerceptualLoss
) -> None:
    samples, task = drawn(), _task(ALL, name, perceptual)
    expected = _by_hand(task, samples, perceptual)
    (_, total, terms), *_ = task.losses(samples, SHARE, task.networks)
    assert terms.keys() | {"total"} == expected.keys()
    for term, value in {**terms, "total": total.detach()}.items():
        torch.testing.assert_close(value, expected[term].detach(), **CLOSE)
        assert abs(float(value)) > 1e-6, term


def test_a_weight_of_0_leaves_a_term_out() -> None:
    samples, task = picture(), _task(LossWeights())
    found = list(task.losses(samples, SHARE, task.networks))
    assert [(name, list(terms)) for name, _, terms in found] == [("tokenizer", ["reconstruction"])]
    assert list(task.networks) == ["tokenizer"]
    rebuilt, _ = task.tok(samples.pixels, levels=task._level_map(samples, SHARE), patches=3)
    expected = (rebuilt - samples.target).square().mean()
    torch.testing.assert_close(found[0][1], expected, **CLOSE)


@pytest.mark.parametrize("drawn", [picture, faster_and_larger_target])
def test_the_discriminator_tells_targets_from_reconstructions(
    drawn: Callable[[], TrainingBatch],
) -> None:
    samples, task = drawn(), _task(replace(ALL, perceptual=0.0, lecam=0.0))
    critic = task.networks["discriminator"]
    rebuilt, _ = task._reconstruct(samples, SHARE, task.tok, None)
    _, (name, loss, _) = task.losses(samples, SHARE, task.networks)
    expected = hinge_discriminator_loss(critic(samples.target), critic(rebuilt))
    assert name == "discriminator"
    torch.testing.assert_close(loss, expected, **CLOSE)


def test_the_adversarial_term_pulls_as_the_others_do_times_its_weight() -> None:
    """At the last layer, where the adaptive weight is measured."""
    losses = LossWeights(adversarial=0.3, discriminator=ALL.discriminator)
    task, samples = _task(losses), picture()
    last = task.tok.last_layer(moving=False)
    (_, total, _), *_ = task.losses(samples, SHARE, task.networks)
    alone = _task(LossWeights())
    (_, main, _), *_ = alone.losses(samples, SHARE, alone.networks)
    (whole,) = torch.autograd.grad(total, last)
    (others,) = torch.autograd.grad(main, alone.tok.last_layer(moving=False))
    torch.testing.assert_close((whole - others).norm(), 0.3 * others.norm(), rtol=0.02, atol=0)


def test_a_clips_step_is_the_same_in_any_division() -> None:
    losses = LossWeights(denoise_std=3.0)
    whole, halves = _task(losses), _task(losses)
    samples = faster_and_larger_target()
    for _, loss, _ in whole.losses(samples, SHARE, whole.networks):
        loss.backward()
    for i in range(2):
        half = replace(
            samples, pixels=samples.pixels[i : i + 1], target=samples.target[i : i + 1], names=("",)
        )
        for _, loss, _ in halves.losses(half, Share(3, i, i + 1, 2), halves.networks):
            loss.backward()
    expected, found = gradients(whole.tok), gradients(halves.tok)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name] / 2, gradient, **CLOSE)


def test_a_recipe_s_perceptual_loss_must_be_given() -> None:
    message = (
        "The recipe 'test' has a perceptual loss of weight 0.7, but the task got none. Pass "
        "`perceptual`, or set the weight to 0."
    )
    with error(message):
        _task(replace(ALL, adversarial=0.0))
