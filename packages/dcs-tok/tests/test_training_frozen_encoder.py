"""Decoder fine-tuning: what is frozen is what latents are made of, no more and no less."""

from dataclasses import replace

import pytest
import torch

from dcs_tok.training import LossWeights, TokenizerTask
from dcs_tok.training.task import Critic

from .tiny_models import CONFIGS, NAMES, perturbed, random_pixels
from .training_runs import recipe


@pytest.mark.parametrize("name", NAMES)
def test_what_latents_depend_on_is_frozen_and_the_rest_learns(name: str) -> None:
    tok = perturbed(CONFIGS[name]()).train()
    named = dict(tok.named_parameters())
    depends: set[str] = set()
    for fps, shape in ((None, (1, 3, 13, 17)), (5, (1, 3, 6, 13, 17))):
        _, latents = tok(random_pixels(*shape), fps)
        gradients = torch.autograd.grad(
            latents.tokens.square().sum(), list(named.values()), allow_unused=True
        )
        depends |= {
            key for key, gradient in zip(named, gradients, strict=True) if gradient is not None
        }
    TokenizerTask(tok, replace(recipe(name), freezes_encoder=True))
    assert {key for key, value in named.items() if not value.requires_grad} == depends


def test_the_discriminator_learns_all_the_same() -> None:
    losses = LossWeights(adversarial=0.2)
    task = TokenizerTask(
        perturbed(CONFIGS["nano"]()), replace(recipe("nano", losses), freezes_encoder=True)
    )
    critic = task.networks["discriminator"]
    assert isinstance(critic, Critic)
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_nothing_is_frozen_otherwise() -> None:
    task = TokenizerTask(perturbed(CONFIGS["paper"]()), recipe("paper"))
    assert all(parameter.requires_grad for parameter in task.tok.parameters())
