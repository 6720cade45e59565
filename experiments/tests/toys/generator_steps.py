"""A step of the paper's generators, with narrow blocks and few patches."""

from dataclasses import replace

import torch

from dcs_common.training import Share
from dcs_dit import DCSDiT, TextEncoder
from dcs_dit.data import LatentBatch
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.recipes import tiny
from dcs_dit.training.task import GeneratorTask


def shrunken(recipe: Recipe, grid: tuple[int, int, int]) -> Recipe:
    """Return a paper recipe with narrow blocks and few patches, as if fitted to latents."""
    recipe = tiny(recipe)
    return replace(recipe, model=replace(recipe.model, grid=grid, labels=("owl", "bee", "fox")))


def step(
    recipe: Recipe,
    captions: tuple[str, str] | None = None,
    text_encoder: TextEncoder | None = None,
) -> DCSDiT:
    """Compute the gradients of one step on latents that were drawn, perhaps with captions."""
    torch.manual_seed(0)
    config = recipe.model
    tokens = torch.randn(2, *config.grid, config.num_levels, config.latent_channels)
    task = GeneratorTask(DCSDiT(config), recipe, text_encoder=text_encoder)
    batch = LatentBatch(tokens, torch.tensor([0, 2]), captions)
    for _, loss, _ in task.losses(batch, Share(0, 0, 2, 2), dict(task.networks)):
        assert loss.isfinite()
        loss.backward()
    return task.dit
