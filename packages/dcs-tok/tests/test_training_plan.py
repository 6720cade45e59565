"""The plan's predictions against measurements at full size."""

from dataclasses import replace

import pytest
import torch

from dcs_tok import DCSTok
from dcs_tok.data.geometry import draw_geometry
from dcs_tok.training import RECIPES, LossWeights
from dcs_tok.training.plan import Cost, measure, tokenizer_cost
from dcs_tok.training.recipe import LevelSampling
from dcs_tok.training.recipes import tiny

from .training_runs import recipe


@pytest.mark.parametrize("name", ["nano", "paper"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_activations_and_flops_are_predicted_within_a_tenth(name: str, precision: str) -> None:
    asked = recipe(name, LossWeights(), LevelSampling(draw="sample"), precision=precision)
    asked = replace(asked, scales=replace(asked.scales, short_sides=(84,), patches=(14,)))
    geometry = draw_geometry(asked.scales, torch.Generator().manual_seed(0), "picture")
    tok = DCSTok(asked.model)
    predicted = tokenizer_cost(tok, asked, geometry)
    pixels = torch.rand(1, 3, 84, 84)

    def run() -> torch.Tensor:
        rebuilt, _ = tok(pixels, levels=4, patches=14)
        return rebuilt.float().square().mean()

    measured: Cost = measure(run, tok, precision)
    assert predicted.saved_bytes == pytest.approx(measured.saved_bytes, rel=0.1)
    assert predicted.flops == pytest.approx(measured.flops, rel=0.1)


def test_every_recipe_has_a_tiny_form_that_can_be_planned() -> None:
    for make in RECIPES.values():
        small = tiny(make())
        geometry = draw_geometry(small.scales, torch.Generator().manual_seed(0), "picture")
        cost = tokenizer_cost(DCSTok(small.model), small, geometry)
        assert cost.flops > 0
        assert cost.saved_bytes > 0
