"""Recipes hold the paper's numbers (Table 4, Eq. 6, Eq. 7)."""

from dataclasses import replace

import pytest

from dcs_tok import dcs_tok_b
from dcs_tok.training import RECIPES, LossWeights
from dcs_tok.training.recipes import tiny

from .errors import error

# steps, batch, learning rate, levels, shortest and longest short side, rates of clips
TABLE_4 = {
    "stage-1": (100_000, 128, 1e-4, 4, (256, 256), None),
    "stage-2": (200_000, 256, 5e-5, 8, (256, 720), None),
    "stage-3": (100_000, 256, 5e-5, 8, (128, 720), (12, 60)),
    "stage-3-decoder": (50_000, 256, 5e-5, 8, (128, 720), (12, 60)),
}


@pytest.mark.parametrize("name", TABLE_4)
def test_stages_are_the_columns_of_table_4(name: str) -> None:
    recipe = RECIPES[name]()
    steps, batch, rate, levels, sides, rates = TABLE_4[name]
    training = recipe.training
    assert (training.steps, training.batch_size) == (steps, batch)
    assert training.optimizer.learning_rate == rate
    assert training.optimizer.betas == (0.9, 0.95)
    assert training.optimizer.matrix_learning_rate is None
    assert recipe.model == replace(dcs_tok_b(), num_levels=levels)
    assert (min(recipe.scales.short_sides), max(recipe.scales.short_sides)) == sides
    assert recipe.scales.asymmetric == (name != "stage-1")
    assert recipe.scales.first_frames == (name == "stage-2")
    assert recipe.scales.patches == (16,)
    assert recipe.scales.crop == "largest"
    if rates is None:
        assert recipe.scales.clip_share == 0
    else:
        assert recipe.scales.clip_share > 0
        assert (min(recipe.scales.fps), max(recipe.scales.fps)) == rates
    assert (recipe.levels.draw, recipe.levels.weights) == ("stratified", "linear")


def test_losses_are_those_of_equation_6_and_7() -> None:
    for name in ("stage-1", "stage-2"):
        losses = RECIPES[name]().losses
        assert (losses.reconstruction, losses.perceptual) == ("l2", 1.0)
        assert losses.adversarial == losses.margin_weight == losses.denoise_std == 0
    third = RECIPES["stage-3"]().losses
    assert (third.reconstruction, third.perceptual, third.adversarial) == ("l2", 1.0, 0.2)
    assert (third.margin_weight, third.margin, third.denoise_std) == (0.001, 1.0, 3.0)
    last = RECIPES["stage-3-decoder"]()
    assert last.losses == replace(third, denoise_std=0.0)
    assert last.freezes_encoder
    total = RECIPES["stage-3"]().training.steps + last.training.steps
    assert total == 150_000


@pytest.mark.parametrize("name", RECIPES)
def test_tiny_forms_keep_losses_and_stages(name: str) -> None:
    recipe, small = RECIPES[name](), tiny(RECIPES[name]())
    assert small.training.steps <= 200
    assert replace(small.losses, discriminator=recipe.losses.discriminator) == recipe.losses
    assert small.levels == recipe.levels
    assert small.model.num_levels == recipe.model.num_levels
    assert small.scales.asymmetric == recipe.scales.asymmetric
    assert small.scales.clip_share == recipe.scales.clip_share
    assert small.freezes_encoder == recipe.freezes_encoder
    assert small.grows_levels == recipe.grows_levels
    assert RECIPES[name]().name == name


@pytest.mark.parametrize("name", ["perceptual", "adversarial", "lecam", "margin_weight", "margin"])
def test_weights_below_zero(name: str) -> None:
    with error(f"`{name}` must be 0 or more, but is -1.0. 0 leaves it out."):
        LossWeights(**{name: -1.0})
