"""The plan's predictions against what real steps compute and hold."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dcs_common.training import Share
from dcs_common.training.meter import Meter
from dcs_tok import DCSTokConfig
from dcs_tok.data import ScaleConfig, TrainingBatch
from dcs_tok.data.geometry import BatchGeometry, draw_geometry
from dcs_tok.discriminator import PatchDiscriminatorConfig
from dcs_tok.training import RECIPES, LevelSampling, LossWeights, Recipe, TokenizerTask
from dcs_tok.training.cost import Cost, CostLine, StepCost
from dcs_tok.training.plan import (
    largest_geometry,
    networks,
    pixel_work,
    plan,
    typical_geometry,
)
from dcs_tok.training.recipes import tiny
from dcs_tok.training.step_cost import step_cost

from .tiny_models import CONFIGS, fresh, random_pixels
from .training_runs import recipe

LOSSES = LossWeights(
    adversarial=0.2,
    margin_weight=0.001,
    discriminator=PatchDiscriminatorConfig(width=8, strided_layers=1),
)
SAMPLES = 3


def _wide(name: str) -> DCSTokConfig:
    """A model whose activations outweigh what does not grow with the batch."""
    return replace(CONFIGS[name](), patches_short_side=11)


def _asked(name: str, precision: str, losses: LossWeights = LOSSES, **scales: object) -> Recipe:
    asked = recipe(_wide(name), losses, LevelSampling(), precision=precision)
    sizes = {"short_sides": (66,), "patches": (11,), **scales}
    return replace(asked, scales=ScaleConfig(**sizes))


def _networks(task: TokenizerTask) -> Iterator[torch.Tensor]:
    for network in task.networks.values():
        yield from network.buffers()
        for parameter in network.parameters():
            yield parameter
            parameter.grad = torch.zeros_like(parameter)
            yield parameter.grad


def _measured(asked: Recipe, geometry: BatchGeometry, recompute: bool) -> tuple[int, int]:
    """Run a real step as the loop does; return FLOPs and the most bytes of activations."""
    tok = fresh(asked.model).train()
    tok.checkpoint_activations = recompute
    task = TokenizerTask(tok, asked)
    frames = () if geometry.fps is None else (geometry.frames,)
    targets = () if geometry.fps is None else (geometry.target_frames,)
    pixels = random_pixels(SAMPLES, 3, *frames, *geometry.size, dtype=torch.float32)
    target = random_pixels(SAMPLES, 3, *targets, *geometry.target_size, dtype=torch.float32)
    names = ("",) * SAMPLES
    batch = TrainingBatch(
        pixels=pixels,
        target=pixels if geometry.is_symmetric else target,
        fps=geometry.fps,
        target_fps=geometry.target_fps,
        patches=geometry.patches,
        names=names,
    )
    autocast = asked.training.precision == "bfloat16"
    meter = Meter([*_networks(task), pixels, target])
    with meter:
        losses = task.losses(batch, Share(0, 0, SAMPLES, SAMPLES), task.networks)
        while True:
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                found = next(losses, None)
            if found is None:
                break
            found[1].backward()
    given = pixels.nbytes + (0 if geometry.is_symmetric else target.nbytes)
    return meter.flops, meter.peak + given


QUICK = {("nano", "float32", False)}
KINDS = [
    pytest.param(*kind, marks=() if kind in QUICK else pytest.mark.slow)
    for kind in product(
        ("paper", "nano", "nano_transformer"), ("float32", "bfloat16"), (False, True)
    )
]


@pytest.mark.parametrize(("name", "precision", "recompute"), KINDS)
def test_a_real_step_is_predicted_within_a_tenth(
    name: str, precision: str, recompute: bool
) -> None:
    asked = _asked(name, precision)
    geometry = draw_geometry(asked.scales, torch.Generator(), "picture")
    _assert_predicted(asked, geometry, recompute)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "nano"])
@pytest.mark.parametrize("frozen", [False, True])
def test_clips_of_two_scales_are_predicted_too(name: str, frozen: bool) -> None:
    losses = LOSSES if name == "paper" else LossWeights()
    asked = replace(_asked(name, "float32", losses), freezes_encoder=frozen)
    geometry = BatchGeometry(
        kind="clip",
        patches=11,
        size=(44, 44),
        target_size=(33, 33),
        fps=Fraction(4),
        target_fps=Fraction(6),
        frames=6,
        target_frames=9,
    )
    _assert_predicted(asked, geometry, False)


def _assert_predicted(asked: Recipe, geometry: BatchGeometry, recompute: bool) -> None:
    flops, peak = _measured(asked, geometry, recompute)
    predicted = step_cost(asked, geometry, checkpoint_activations=recompute)
    assert predicted.at(SAMPLES).flops == pytest.approx(flops, rel=0.1)
    assert predicted.bytes_at(SAMPLES) == pytest.approx(peak, rel=0.1)


@pytest.mark.parametrize("name", ["paper", "nano_transformer"])
def test_recomputing_holds_less_beside_an_adversarial_loss_too(name: str) -> None:
    """The adaptive weight goes back to the last layer first; that must compute nothing again."""
    asked = _asked(name, "float32")
    geometry = draw_geometry(asked.scales, torch.Generator(), "picture")
    flops, kept = _measured(asked, geometry, False)
    more, held = _measured(asked, geometry, True)
    assert held < 0.4 * kept
    assert more < 1.4 * flops  # another forward pass, a third of the work, and no more


def test_the_perceptual_loss_is_counted() -> None:
    asked = _asked("nano", "float32", replace(LOSSES, perceptual=1.0))
    geometry = draw_geometry(asked.scales, torch.Generator(), "picture")
    network = lambda: _Distance(nn.Conv2d(3, 97, 3))  # noqa: E731
    without = step_cost(asked, geometry).at(1)
    with_it = step_cost(asked, geometry, perceptual=network).at(1)
    height, width = geometry.size
    forward = 2 * 97 * 27 * (height - 2) * (width - 2)
    # Target and reconstruction forward, the reconstruction back to its pixels, first for the
    # adaptive weight.
    assert with_it.flops - without.flops == pytest.approx(4 * forward, rel=0.01)
    assert with_it.transient > without.transient


class _Distance(nn.Module):
    """What lpips' network looks like from outside."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(
        self, first: torch.Tensor, second: torch.Tensor, *, normalize: bool
    ) -> torch.Tensor:
        assert normalize
        return (self.features(first) - self.features(second)).square()


class _Operations(TorchDispatchMode):
    """Counts the operations that run under it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_planning_takes_no_longer_for_larger_clips() -> None:
    """A run works through them in thousands of pieces; its plan does not."""
    asked = _asked("paper", "bfloat16")
    assert asked.model.patchifier is not None
    network = replace(asked.model.patchifier, width=128, heads=2)
    model = replace(asked.model, patchifier=network, depatchifier=network)
    asked = replace(asked, model=model)

    def planned(side: int, frames: int) -> tuple[StepCost, int]:
        geometry = BatchGeometry(
            kind="clip",
            patches=11,
            size=(side, side),
            target_size=(side, side),
            fps=Fraction(4 * frames),
            target_fps=Fraction(4 * frames),
            frames=frames,
            target_frames=frames,
        )
        with _Operations() as seen:
            cost = step_cost(asked, geometry)
        return cost, seen.count

    small, operations = planned(44, 6)
    large, as_many = planned(88, 12)
    assert as_many == operations
    assert large.at(1).flops > 10 * small.at(1).flops


# ---------------------------------------------------------------- meter


def test_the_meter_counts_products_and_attention() -> None:
    left, right = torch.rand(3, 5), torch.rand(5, 7, requires_grad=True)
    query = torch.rand(1, 2, 11, 8)
    with Meter() as meter:
        (left @ right).sum().backward()
    assert meter.flops == 2 * 2 * 3 * 5 * 7
    with Meter() as meter:
        nn.functional.scaled_dot_product_attention(query, query[:, :, :7], query[:, :, :7])
    assert meter.flops == 2 * 2 * 2 * 11 * 7 * 8


def test_the_meter_knows_what_is_alive() -> None:
    known = torch.zeros(1000)
    with Meter([known]) as meter:
        view = known[3:].view(-1)
        assert meter.held == 0
        first = known + 1
        second = torch.empty(500, dtype=torch.float64)
        assert meter.held == 8000
        del first
        assert meter.held == 4000
        third = second[:7]
        del second
        assert meter.held == 4000  # a view keeps the whole
        del third
        assert meter.held == 0
    assert meter.peak == 8000
    assert view.numel() == 997


# ---------------------------------------------------------------- cost


def _step(per_patch: float, weight_copies: float) -> StepCost:
    outside = CostLine(0, Cost(0, weight_copies, 0), Cost(0, per_patch, 0))
    nothing = CostLine(0, Cost(0, 0, 0), Cost(0, 0, 0))
    return StepCost(7, 13, outside, (), nothing, 5)


@given(st.integers(1, 10**4), st.integers(0, 10**4), st.integers(0, 10**8))
def test_the_largest_micro_batch_is_the_last_that_fits(slope: int, base: int, memory: int) -> None:
    cost = _step(slope, base)
    largest = cost.largest(memory)
    assert largest == 0 or cost.bytes_at(largest) <= memory
    assert cost.bytes_at(largest + 1) > memory


# ---------------------------------------------------------------- what is printed


def _line(text: str, start: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(start)]
    return found


def test_parameters_optimiser_states_and_averages_are_counted() -> None:
    asked = _asked("paper", "float32", LossWeights())
    model = sum(parameter.numel() for parameter in fresh(asked.model).parameters())

    def fixed(recipe: Recipe, world_size: int = 1) -> int:
        return networks(recipe, world_size, None)[2]

    assert fixed(asked) == 4 * 4 * model  # weight, gradient, two moments
    averaged = replace(asked, training=replace(asked.training, ema_decay=0.9))
    assert fixed(averaged) == 4 * 5 * model
    assert fixed(asked, world_size=2) == 4 * 5 * model
    muon = replace(asked.training.optimizer, matrix_learning_rate=1e-3)
    matrices = fresh(asked.model).hidden_matrices()
    hidden = sum(dict(fresh(asked.model).named_parameters())[name].numel() for name in matrices)
    by_muon = replace(asked, training=replace(asked.training, optimizer=muon))
    assert fixed(by_muon) == 4 * (4 * model - hidden)
    half = fresh(asked.model).encoding_half()
    still = sum(p.numel() for name, p in fresh(asked.model).named_parameters() if name in half)
    assert fixed(replace(asked, freezes_encoder=True)) == 4 * (4 * model - 3 * still)


def test_the_plan_says_what_fits_and_what_to_do_if_not() -> None:
    asked = _asked("nano", "float32", LossWeights())
    asked = replace(asked, training=replace(asked.training, batch_size=6))
    geometry = largest_geometry(asked)
    cost = step_cost(asked, geometry)
    fixed = networks(asked, 1, None)[2]
    enough, little = fixed + cost.bytes_at(6), fixed + cost.bytes_at(3)
    start = "a micro-batch of 6 of the largest geometry: "
    said = _line(plan(asked, memory=enough), start)
    assert said == f"{start}{enough / 2**30:.3g} GiB, fits in {enough / 1e9:g} GB"
    said = _line(plan(asked, memory=little), start)
    assert said.endswith(". Use `--accumulate 2` or `--checkpoint-activations`.")
    said = _line(plan(asked, memory=fixed, checkpoint_activations=True), start)
    assert said.endswith(" GB. Use smaller scales or more memory.")


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    message = (
        "`batch_size` must be a multiple of processes times `accumulate`, but is 4 for 3 processes "
        "and `accumulate` 1. Change one of them."
    )
    with pytest.raises(ValueError) as error:
        plan(recipe("nano"), world_size=3)
    assert str(error.value) == message


def test_time_is_left_out_where_there_is_no_such_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = plan(recipe("nano"), device="cuda")
    assert "time: not known, as there is no cuda here to measure" in said.splitlines()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_typical_geometry_is_no_larger_than_the_largest(name: str) -> None:
    asked = RECIPES[name]()
    typical, largest = typical_geometry(asked), largest_geometry(asked)
    assert max(largest.size) == max(largest.target_size) == max(asked.scales.short_sides)
    assert largest.kind == ("clip" if asked.scales.clip_share else "picture")
    if asked.scales.clip_share:
        assert largest.fps == largest.target_fps == max(asked.scales.fps)
    assert pixel_work(asked, typical) <= pixel_work(asked, largest)


@pytest.mark.slow
def test_every_recipe_has_a_tiny_form_that_can_be_planned() -> None:
    for make in RECIPES.values():
        small = tiny(make())
        cost = step_cost(small, typical_geometry(small), checkpoint_activations=True)
        assert cost.at(1).flops > 0
        assert cost.bytes_at(1) > 0
