"""Coarse to fine gives what all levels at once give; a sample depends on its own request alone."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcs_dit import TextStates, sample, sample_progressive
from dcs_dit.sampling.noise import level_noise, sample_seeds

from .sampling_models import (
    CACHES,
    EXACT,
    MODELS,
    SINGLE,
    joint,
    model,
    progressive,
    requests,
    texts,
    tokens_of,
)
from .small_dit import CHANNELS, CLIP, LEVELS, PICTURE

SEEDS = st.integers(-(2**63), 2**64)


@settings(max_examples=30)
@given(asked=requests(), cache=st.sampled_from(CACHES))
def test_every_preview_is_the_first_levels_of_all_at_once(
    asked: tuple[str, dict[str, Any]], cache: str
) -> None:
    kind, request = asked
    dit = model(kind)
    whole = joint(dit, **request)
    steps = progressive(dit, cache, **request)
    assert [step.level for step in steps] == list(range(1, request["levels"] + 1))
    for step in steps:
        torch.testing.assert_close(tokens_of(step), whole[..., : step.level, :], **EXACT)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(("kind", "scale"), [("plain", 1.0), ("text", 6.0), ("clip", 6.0)])
def test_it_holds_in_single_precision_over_many_steps(kind: str, scale: float, cache: str) -> None:
    dit = model(kind, torch.float32)
    request = {"labels": ["fox", "owl"], "seeds": [1, 2], "steps": 20, "guidance_scale": scale}
    *_, last = progressive(dit, cache, **request)
    torch.testing.assert_close(tokens_of(last), joint(dit, **request), **SINGLE)


@given(asked=requests(), few=st.integers(1, LEVELS))
def test_a_run_over_few_levels_is_the_start_of_one_over_all(
    asked: tuple[str, dict[str, Any]], few: int
) -> None:
    kind, request = asked
    whole = joint(model(kind), **{**request, "levels": LEVELS})
    found = joint(model(kind), **{**request, "levels": few})
    torch.testing.assert_close(found, whole[..., :few, :], **EXACT)


def test_levels_above_are_made_from_those_below() -> None:
    """Else all of the above would hold of a model of separate levels, too."""
    dit, seen = model(), {}
    for first in (1, 2):
        state = progressive(dit, levels=2, steps=3, seeds=[first])[0].state
        later = progressive(dit, levels=2, steps=3, seeds=[7])[0].state
        mixed = type(state)(
            request=later.request, model=state.model, trajectories=state.trajectories
        )
        seen[first] = progressive(dit, state=mixed)[-1].state.trajectories[1]
    assert torch.equal(seen[1][0], seen[2][0])  # the same noise
    assert (seen[1][-1] - seen[2][-1]).abs().max() > 1e-3


# ---------------------------------------------------------------------- noise and seeds


@given(
    seeds=st.lists(SEEDS, min_size=1, max_size=4),
    grid=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)),
    level=st.integers(1, 9),
)
def test_noise_belongs_to_a_seed_and_a_level(
    seeds: list[int], grid: tuple[int, int, int], level: int
) -> None:
    noise = level_noise(seeds, grid, level, CHANNELS)
    t, h, w = grid
    assert (noise.shape, noise.dtype) == ((len(seeds), t * h * w, CHANNELS), torch.float32)
    for seed, own in zip(seeds, noise, strict=True):
        assert torch.equal(level_noise([seed], grid, level, CHANNELS)[0], own)
        assert not torch.equal(level_noise([seed], grid, level + 1, CHANNELS)[0], own)
        assert not torch.equal(level_noise([seed + 1], grid, level, CHANNELS)[0], own)


def test_noise_is_standard_normal_and_levels_share_none_of_it() -> None:
    first, second = (level_noise([3], (1, 64, 64), level, 4).flatten() for level in (1, 2))
    for noise in (first, second):
        assert abs(float(noise.mean())) < 0.03
        assert abs(float(noise.std()) - 1) < 0.03
    assert abs(float((first * second).mean())) < 0.03


@pytest.mark.parametrize("others", [[], [5], [4, 5]])
@pytest.mark.parametrize("levels", [1, 3, LEVELS])
def test_runs_start_from_the_noise_of_their_seeds(levels: int, others: list[int]) -> None:
    steps = progressive(model(), seeds=[9, *others], levels=levels, steps=2)
    for level, trajectory in enumerate(steps[-1].state.trajectories, start=1):
        expected = level_noise([9], PICTURE, level, CHANNELS)[0].double()
        assert torch.equal(trajectory[0, 0], expected)


@given(seed=SEEDS, count=st.integers(0, 5), first=st.integers(0, 3))
def test_seeds_of_a_series_are_distinct_and_do_not_depend_on_how_many(
    seed: int, count: int, first: int
) -> None:
    whole = sample_seeds(seed, first + count)
    assert sample_seeds(seed, count, first) == whole[first:]
    assert len(set(whole)) == len(whole)
    assert not set(whole) & set(sample_seeds(seed + 1, first + count))


def test_seeds_make_a_run_reproducible() -> None:
    runs = [sample(model(), seeds=seeds, steps=3).tokens for seeds in ([1, 2], [1, 2], [3, 2])]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0][0], runs[2][0])
    assert torch.equal(runs[0][1], runs[2][1])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_generator_gives_sample_i_the_same_seed_in_any_batch(count: int) -> None:
    def run(number: int) -> Any:
        generator = torch.Generator().manual_seed(8)
        return progressive(model(), num_samples=number, generator=generator, steps=2)[-1]

    many, few = run(5), run(count)
    assert few.state.request.seeds == many.state.request.seeds[:count]
    torch.testing.assert_close(tokens_of(few), tokens_of(many)[:count], **EXACT)


def test_a_generator_goes_on_and_the_global_one_is_used_without() -> None:
    generator = torch.Generator().manual_seed(8)
    first, second = (sample(model(), generator=generator, steps=1).tokens for _ in range(2))
    assert not torch.equal(first, second)
    drawn = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(8)
            drawn.append(sample(model(), steps=1).tokens)
    assert torch.equal(*drawn)
    assert torch.equal(drawn[0], first)


# ---------------------------------------------------------------------- batches


@given(
    kind=st.sampled_from(sorted(MODELS)),
    order=st.permutations(range(4)),
    count=st.integers(1, 4),
)
def test_samples_in_any_order_and_number_are_what_they_are_in_a_batch(
    kind: str, order: list[int], count: int
) -> None:
    chosen = order[:count]

    def request(samples: list[int]) -> dict[str, Any]:
        states = texts(4)
        own = TextStates(states.states[samples], states.lengths[samples])
        return {
            "labels": [[0, 2, 2, 1][i] for i in samples],
            "seeds": [[5, 6, 5, 7][i] for i in samples],
            "texts": own if kind == "text" else None,
            "guidance_scale": 3.0,
            "steps": 3,
        }

    whole = joint(model(kind), **request([0, 1, 2, 3]))
    torch.testing.assert_close(joint(model(kind), **request(chosen)), whole[chosen], **EXACT)


@pytest.mark.parametrize("grid", [PICTURE, CLIP])
def test_batch_mates_do_not_matter(grid: tuple[int, int, int]) -> None:
    """At unchanged shapes, not by a bit."""
    dit = model("plain" if grid == PICTURE else "clip")
    before = joint(dit, labels=[0, 1, 2], seeds=[1, 2, 3], steps=3)
    after = joint(dit, labels=[0, 2, 2], seeds=[1, 5, 3], steps=3)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert (before[1] != after[1]).all()


def test_what_was_received_is_not_changed_by_what_comes_later() -> None:
    received, copies = [], []
    for step in sample_progressive(model(), seeds=[1], steps=2):
        received.append([step.latents.tokens, *step.state.trajectories])
        copies.append([tensor.clone() for tensor in received[-1]])
    for tensors, then in zip(received, copies, strict=True):
        assert all(map(torch.equal, tensors, then))


def test_nothing_needs_gradients_and_their_mode_is_left_alone() -> None:
    for step in sample_progressive(model(), seeds=[1], steps=1):
        assert torch.is_grad_enabled()
        assert not step.latents.tokens.requires_grad
    assert not sample(model(), seeds=[1], steps=1).tokens.requires_grad
