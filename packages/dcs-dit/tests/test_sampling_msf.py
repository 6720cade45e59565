"""``sample_msf``: base, then residual, in few steps; a sample never depends on its batch."""

import warnings
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dcs_dit import DCSDiT, sample, sample_progressive
from dcs_dit.data.halving import doubled
from dcs_dit.sampling import solver
from dcs_dit.sampling.msf import MSFStep, sample_msf
from dcs_dit.sampling.noise import level_noise, sample_seeds

from .labelled_files import error
from .sampling_models import EXACT, SINGLE, perturbed, watching
from .small_dit import CHANNELS, LEVELS, randn

BASE, WHOLE = (1, 1, 3), (1, 2, 6)
TOKENS = {"base": 3 * LEVELS, "residual": 12 * LEVELS}


def base_model(dtype: torch.dtype = torch.float64, **changes: Any) -> DCSDiT:
    return perturbed(dtype, **{"grid": BASE, "latent_form": "msf-base", **changes})


def residual_model(dtype: torch.dtype = torch.float64, **changes: Any) -> DCSDiT:
    form = {"latent_form": "msf-residual", "condition_channels": CHANNELS}
    dit = perturbed(dtype, 5, **{"grid": WHOLE, **form, **changes})
    dit.condition_mean.copy_(randn(LEVELS, CHANNELS, seed=8))
    dit.condition_std.copy_(randn(LEVELS, CHANNELS, seed=9).exp())
    return dit


@lru_cache
def pair(dtype: torch.dtype = torch.float64) -> tuple[DCSDiT, DCSDiT]:
    """Base and residual that tests share and leave as they are."""
    return base_model(dtype), residual_model(dtype)


def stages(*models: DCSDiT, **request: Any) -> list[MSFStep]:
    request = {"steps": 3, "residual_steps": 2, **request}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of grids beyond training
        return list(sample_msf(*(models or pair()), **request))


def tokens(step: MSFStep) -> Tensor:
    return step.latents.tokens


# ---------------------------------------------------------------------- what comes out


def test_the_preview_is_the_base_alone_on_the_whole_grid() -> None:
    first, _ = stages(seeds=[1, 2], labels=["fox", "owl"])
    alone = sample(pair()[0], seeds=[1, 2], labels=["fox", "owl"], steps=3)
    assert torch.equal(tokens(first), alone.tokens)
    assert (first.level, first.latents.grid) == (1, WHOLE)
    assert torch.equal(tokens(first), doubled(tokens(first)[:, :, ::2, ::2]))
    assert first.latents.size == (2 * 16, 6 * 16)


def test_the_picture_is_base_and_residual_by_euler_s_method() -> None:
    """The same steps by hand, from the model's own call on all levels."""
    _, residual = pair()
    first, second = stages(seeds=[1, 2], labels=[0, 2], guidance_scale=1.0)
    base = tokens(first).double()
    clean = residual.normalise_condition(base)
    seeds = [sample_seeds(seed, 1)[0] for seed in (1, 2)]
    levels = [level_noise(seeds, WHOLE, level, CHANNELS) for level in range(1, LEVELS + 1)]
    x = torch.stack(levels, dim=2).unflatten(1, WHOLE).double()
    every = torch.full((2,), LEVELS)
    with torch.no_grad():
        for time in (0.0, 0.5):
            at = torch.full((2,), time, dtype=torch.float64)
            x = x + 0.5 * residual(x, at, every, torch.tensor([0, 2]), clean=clean)
    expected = (base + residual.denormalise(x)).float()
    torch.testing.assert_close(tokens(second), expected, rtol=1e-6, atol=1e-6)
    assert (second.level, second.latents.grid) == (2, WHOLE)


def test_each_stage_takes_its_own_steps_on_its_own_tokens() -> None:
    calls: list[tuple[int, int]] = []
    with watching() as seen:
        stages(seeds=[1], on_progress=lambda *call: calls.append(call))
    assert seen.tokens == [TOKENS["base"]] * 3 + [TOKENS["residual"]] * 2
    assert calls == [(i, 5) for i in range(1, 6)]


def test_the_residual_waits_until_it_is_asked_for() -> None:
    with watching() as seen:
        next(sample_msf(*pair(), steps=3, residual_steps=2, seeds=[1]))
    assert seen.tokens == [TOKENS["base"]] * 3


def test_a_residual_takes_twelve_steps_unless_told_otherwise() -> None:
    with watching() as seen:
        list(sample_msf(*pair(), steps=1, seeds=[1]))
    assert seen.tokens == [TOKENS["base"]] + [TOKENS["residual"]] * 12


def test_each_model_has_its_own_default_of_guidance() -> None:
    models = base_model(guidance_scale=1.0), residual_model(guidance_scale=2.0)
    own = stages(*models, labels=["fox"], seeds=[1])
    same = stages(*models, labels=["fox"], seeds=[1], guidance_scale=1.0)
    assert torch.equal(tokens(own[0]), tokens(same[0]))
    assert not torch.allclose(tokens(own[1]), tokens(same[1]))


# ---------------------------------------------------------------------- batches and noise


@settings(max_examples=8)
@given(seeds=st.lists(st.integers(-(2**63), 2**64), min_size=2, max_size=4), data=st.data())
def test_a_sample_is_the_same_in_any_batch(seeds: list[int], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, 2), min_size=len(seeds), max_size=len(seeds)))
    together = stages(seeds=seeds, labels=labels)
    i = data.draw(st.integers(0, len(seeds) - 1))
    alone = stages(seeds=[seeds[i]], labels=[labels[i]])
    for one, all_ in zip(alone, together, strict=True):
        # Latents are float32; what lies behind them is not.
        torch.testing.assert_close(tokens(one)[0], tokens(all_)[i], rtol=1e-6, atol=1e-6)


def test_in_single_precision_too() -> None:
    models = pair(torch.float32)
    together, alone = stages(*models, seeds=[3, 4, 5]), stages(*models, seeds=[4])
    for one, all_ in zip(alone, together, strict=True):
        torch.testing.assert_close(tokens(one)[0], tokens(all_)[1], **SINGLE)


def test_a_residual_s_noise_is_not_its_base_s() -> None:
    """A longer draw from the same stream may begin with the shorter one."""
    noises: list[Tensor] = []

    def watched(*arguments: Any) -> Tensor:
        noises.append(level_noise(*arguments))
        return noises[-1]

    with patch.object(solver, "level_noise", watched):
        stages(seeds=[1])
    base, residual = noises[0].flatten(), noises[LEVELS].flatten()
    assert len(residual) == 4 * len(base)
    assert not torch.isin(base, residual).any()


def test_one_generator_draws_the_seeds_of_both() -> None:
    drawn = torch.randint(2**62, (), generator=torch.Generator().manual_seed(3))
    expected = stages(seeds=sample_seeds(int(drawn), 2))
    found = stages(generator=torch.Generator().manual_seed(3), num_samples=2)
    for first, second in zip(found, expected, strict=True):
        assert torch.equal(tokens(first), tokens(second))


def test_more_steps_of_the_residual_leave_the_base_as_it_is() -> None:
    few, many = stages(seeds=[1], residual_steps=1), stages(seeds=[1], residual_steps=7)
    assert torch.equal(tokens(few[0]), tokens(many[0]))
    assert not torch.allclose(tokens(few[1]), tokens(many[1]), **EXACT)


def test_a_grid_is_that_of_the_picture() -> None:
    first, second = stages(seeds=[1], grid=(4, 2))
    assert first.latents.grid == second.latents.grid == (1, 4, 2)


# ---------------------------------------------------------------------- refusals


def test_a_residual_is_not_sampled_alone() -> None:
    message = (
        "A model of the form 'msf-residual' needs the base that its residual is added to, but is "
        "sampled alone. Use `sample_msf`, or `--residual` beside the base's `--model`."
    )
    for sampler in (sample, sample_progressive):
        with error(message):
            sampler(pair()[1], seeds=[1])


def test_stages_have_their_places() -> None:
    base, residual = pair()
    with error(
        "The base must be a model of the form 'msf-base', but is one of 'msf-residual'. Train it "
        "with the recipe nano-msf-base."
    ):
        sample_msf(residual, base)
    with error(
        "The residual must be a model of the form 'msf-residual', but is one of 'plain'. Train it "
        "with the recipe nano-msf-residual."
    ):
        sample_msf(base, perturbed())


def test_both_are_of_the_same_latents() -> None:
    base = base_model(tokenizer="toy-1", labels=("bee",))
    with error(
        "Base and residual must be of the same latents, but the base differs in labels (('bee',) "
        "there, ('bee', 'fox', 'owl') here), tokenizer (toy-1 there, toy-2 here). Train both on "
        "one cache."
    ):
        sample_msf(base, residual_model(tokenizer="toy-2"))
    few = base_model(trained_levels=2)
    with error("Base and residual must have the same levels, but have 2 and 4. Give `levels`."):
        sample_msf(few, residual_model())
    assert stages(few, residual_model(), levels=2)[1].latents.num_levels == 2


@pytest.mark.parametrize("grid", [(3, 6), (2, 5), (1, 1)])
@pytest.mark.filterwarnings("ignore:This model was trained on a grid")
def test_an_odd_grid_has_no_half(grid: tuple[int, int]) -> None:
    with error(
        "`grid` must have even rows and columns, whose half is the base, but is "
        f"{(1, *grid)}. The residual was trained on {WHOLE}."
    ):
        sample_msf(*pair(), grid=grid)


@pytest.mark.parametrize("steps", [0, 1.5])
def test_steps_of_the_residual(steps: Any) -> None:
    with error(
        f"`residual_steps` must be an integer from 1 on, but is {steps}. A residual may do with "
        "fewer than the base."
    ):
        sample_msf(*pair(), residual_steps=steps)
