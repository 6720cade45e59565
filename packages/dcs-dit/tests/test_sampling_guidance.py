"""Guidance: what it computes, when it is on, and how often the model is asked."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_dit import DCSDiT, sample, sample_progressive
from dcs_dit.sampling.settings import SamplingSettings

from .sampling_models import (
    EXACT,
    joint,
    model,
    perturbed,
    progressive,
    requests,
    small_config,
    texts,
    watching,
)
from .small_dit import CHANNELS, KINDS, LABELS, LEVELS, fresh, randn

ALWAYS = (0.0, 1.0)
SCALES = st.floats(0, 8)


def conditional(kind: str) -> dict[str, Any]:
    """Ask for two samples with conditions, of which the second one's text is shorter."""
    request: dict[str, Any] = {"labels": [2, 0], "seeds": [3, 4]}
    return request | ({"texts": texts(2)} if kind == "text" else {})


# ---------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_scale_of_1_is_a_model_without_the_unconditional_branch(kind: str) -> None:
    dit = perturbed(**KINDS[kind])
    request = {**conditional(kind), "steps": 3}
    with watching() as seen:
        guided = sample(dit, guidance_scale=1, **request)
    assert seen.samples == [2] * 3
    plain = DCSDiT(replace(dit.config, has_unconditional=False)).double().eval()
    plain.load_state_dict(dit.state_dict())
    assert torch.equal(guided.tokens, sample(plain, **request).tokens)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_scale_of_0_is_the_unconditional_branch(kind: str) -> None:
    request = {"guidance_interval": ALWAYS, "steps": 3}
    guided = joint(model(kind), guidance_scale=0, **conditional(kind), **request)
    unconditional = joint(model(kind), seeds=[3, 4], steps=3)
    torch.testing.assert_close(guided, unconditional, **EXACT)
    with_labels = joint(model(kind), guidance_scale=1, **conditional(kind), **request)
    assert (with_labels - unconditional).abs().min() > 1e-9


@given(kind=st.sampled_from(sorted(KINDS)), scale=SCALES)
def test_one_step_is_linear_in_the_scale(kind: str, scale: float) -> None:
    request = {**conditional(kind), "guidance_interval": ALWAYS, "steps": 1}
    none, one, found = (joint(model(kind), guidance_scale=s, **request) for s in (0.0, 1.0, scale))
    torch.testing.assert_close(found, none + scale * (one - none), **EXACT)


@given(kind=st.sampled_from(sorted(KINDS)), scale=SCALES, channels=st.integers(1, CHANNELS + 2))
def test_channels_beyond_the_guided_ones_are_the_conditional_ones(
    kind: str, scale: float, channels: int
) -> None:
    request = {**conditional(kind), "guidance_interval": ALWAYS, "steps": 1}
    guided = joint(model(kind), guidance_scale=scale, **request)
    plain = joint(model(kind), guidance_scale=1, **request)
    some = joint(model(kind), guidance_scale=scale, guidance_channels=channels, **request)
    torch.testing.assert_close(some[..., :channels], guided[..., :channels], **EXACT)
    torch.testing.assert_close(some[..., channels:], plain[..., channels:], **EXACT)


@given(
    scale=SCALES,
    channels=st.one_of(st.none(), st.integers(1, CHANNELS + 2)),
    seed=st.integers(0, 99),
)
def test_velocities_are_combined_as_the_formula_says(
    scale: float, channels: int | None, seed: int
) -> None:
    settings = SamplingSettings(guidance_scale=scale, guidance_channels=channels)
    wanted, other = randn(2, 3, CHANNELS, seed=seed), randn(2, 3, CHANNELS, seed=seed + 1)
    before = wanted.clone(), other.clone()
    guided = settings.guide(wanted, other)
    expected = (1 - scale) * other + scale * wanted
    if channels is not None:
        expected[..., channels:] = wanted[..., channels:]
    torch.testing.assert_close(guided, expected, **EXACT)
    assert torch.equal(before[0], wanted)
    assert torch.equal(before[1], other)


def test_the_default_scale_is_the_model_s_and_1_without_a_condition() -> None:
    dit = perturbed(guidance_scale=2.5)
    request = {"labels": ["fox"], "seeds": [1], "steps": 2, "guidance_interval": ALWAYS}
    default = sample(dit, **request)
    assert torch.equal(default.tokens, sample(dit, guidance_scale=2.5, **request).tokens)
    with watching() as seen:
        sample(dit, seeds=[1], steps=2)
    assert seen.samples == [1, 1]


# ---------------------------------------------------------------------- when it is on


@pytest.mark.parametrize(
    ("interval", "steps", "guided"),
    [
        ((0.1, 1.0), 50, range(5, 50)),
        ((0.3, 0.7), 10, range(3, 8)),
        ((0.0, 0.0), 10, range(1)),
        ((0.31, 0.39), 10, range(0)),
        ((0.0, 1.0), 3, range(3)),
        ((1.0, 1.0), 4, range(0)),
    ],
)
@pytest.mark.parametrize("levels", [None, 2])
def test_steps_from_the_first_to_the_last_time_are_guided(
    interval: tuple[float, float], steps: int, guided: range, levels: int | None
) -> None:
    """Joint where no number of levels is given."""
    request = {
        "labels": ["fox"],
        "grid": (1, 1),
        "guidance_scale": 2.0,
        "guidance_interval": interval,
        "steps": steps,
    }
    with watching() as seen:
        if levels is None:
            sample(model(), levels=2, **request)
        else:
            list(sample_progressive(model(), levels=levels, **request))
    assert seen.samples == [2 if i in guided else 1 for i in range(steps)] * (levels or 1)


def test_the_interval_is_one_of_shifted_times() -> None:
    settings = SamplingSettings(steps=4, time_shift=0.2, guidance_interval=(0.1, 0.3))
    times = settings.times()
    assert [settings.is_guided(time) for time in times[:-1]] == [False, False, True, False]
    assert 0.1 < times[2] < 0.3


# ---------------------------------------------------------------------- how often it is asked


@given(asked=requests())
def test_a_model_is_asked_once_a_step_and_its_conditions_are_computed_once_a_step(
    asked: tuple[str, dict[str, Any]],
) -> None:
    kind, request = asked
    steps, levels = request["steps"], request["levels"]
    with watching() as together:
        sample(model(kind), **request)
    with watching() as one_by_one:
        progressive(model(kind), **request)
    assert len(together.samples) == steps
    assert one_by_one.samples == together.samples * levels
    assert one_by_one.conditions == together.conditions == together.samples
    assert sum(one_by_one.tokens) == sum(together.tokens)


@pytest.mark.parametrize(
    ("cache", "evaluations"),
    [("device", 4), ("cpu", 4), ("copied", 4), ("recompute", 1 + 2 + 3 + 4)],
)
def test_what_a_kind_of_cache_costs(cache: str, evaluations: int) -> None:
    with watching() as seen:
        whole = progressive(model(), cache, labels=[1], steps=3)
    assert len(seen.samples) == 3 * evaluations
    with watching() as seen:
        progressive(model(), cache, state=whole[1].state)
    # Levels 1 and 2 are gone through once more, or once for each of levels 3 and 4.
    assert len(seen.samples) == 3 * (3 + 4 if cache == "recompute" else 2 + 2)
    assert len(seen.conditions) == 3


def test_progress_is_told_after_every_step() -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    sample(model(), steps=3, on_progress=tell)
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    steps = list(sample_progressive(model(), steps=3, on_progress=tell))
    assert told == [(i, 3 * LEVELS) for i in range(1, 3 * LEVELS + 1)]
    told.clear()
    list(sample_progressive(model(), state=steps[1].state, on_progress=tell))
    assert told == [(i, 6) for i in range(1, 7)]


def test_levels_are_computed_when_they_are_asked_for() -> None:
    with watching() as seen:
        run = sample_progressive(model(), steps=3, grid=(1, 1))
        assert seen.samples == []
        for level in range(1, LEVELS + 1):
            assert next(run).level == level
            assert len(seen.samples) == 3 * level


def test_a_fresh_model_returns_its_noise() -> None:
    """Which is why all others here are perturbed."""
    dit = fresh(small_config(labels=LABELS)).double()
    steps = progressive(dit, labels=[0], seeds=[1], steps=3)
    for trajectory in steps[-1].state.trajectories:
        assert torch.equal(trajectory, trajectory[:1].expand_as(trajectory))
