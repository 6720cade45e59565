"""What `--plan` says is what a run does."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcs_common.training.meter import Meter
from dcs_dit.cli import main
from dcs_dit.model import DCSDiT
from dcs_dit.training.plan import bytes_at, fixed_bytes, largest, num_parameters, plan, step_cost
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.recipes import xl

from .small_dit import COMMAND_CONFIG, small_recipe

SAMPLES = 5


def measured(recipe: Recipe, levels: int, recompute: bool) -> tuple[int, int]:
    """Run a real step; return FLOPs and the most bytes of activations."""
    dit = DCSDiT(recipe.model).train()
    dit.checkpoint_activations = recompute
    config = recipe.model
    noised = torch.zeros(SAMPLES, *config.grid, levels, config.latent_channels)
    time = torch.zeros(SAMPLES)
    known = [*dit.parameters(), *dit.buffers(), noised, time]
    for parameter in dit.parameters():
        parameter.grad = torch.zeros_like(parameter)
        known.append(parameter.grad)
    meter = Meter(known)
    with meter:
        out = dit(noised, time, torch.full((SAMPLES,), levels))
        out.backward(torch.zeros_like(out))
    return meter.flops, meter.peak


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_real_step_is_predicted_within_a_tenth(levels: int, recompute: bool) -> None:
    recipe = small_recipe(replace(COMMAND_CONFIG, blocks=4, width=64, grid=(1, 6, 7)))
    flops, peak = measured(recipe, levels, recompute)
    cost = step_cost(recipe, levels, recompute)
    assert cost.at(SAMPLES).flops == pytest.approx(flops, rel=0.1)
    assert bytes_at(cost, SAMPLES) == pytest.approx(peak, rel=0.1)


def test_the_largest_micro_batch_is_the_largest_that_fits() -> None:
    cost = step_cost(small_recipe(COMMAND_CONFIG), 3, False)
    for memory in (bytes_at(cost, 7), bytes_at(cost, 7) * 1.01, bytes_at(cost, 8) * 0.999):
        assert largest(cost, memory) == 7
    assert largest(cost, bytes_at(cost, 1) * 0.9) == 0


def test_xl_in_numbers() -> None:
    """The size that the family calls XL, and float32 state of AdamW with an average."""
    recipe = xl()
    assert num_parameters(recipe) == pytest.approx(675e6, rel=0.01)
    assert fixed_bytes(recipe, 1) == 5 * 4 * num_parameters(recipe)
    said = plan(recipe, memory=80e9, world_size=8)
    assert "200000 steps of 512" in said
    assert "tokens, mean | 768 of 1024" in said
    assert re.search(r"does not fit in 80 GB\. Use `--accumulate \d+`", said)


def test_the_command_prints_it_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "nano", "--plan"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("nano: 20000 steps of 64")
    assert "fits in 80 GB" in said
    assert not list(tmp_path.iterdir())
