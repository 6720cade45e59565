"""Euler's method against flows whose end is known, and the times of its steps."""

from collections.abc import Callable
from itertools import pairwise
from math import exp, prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.kv_cache import KeyValueCache
from dcs_dit import DCSDiT, TextStates
from dcs_dit.conditioning import Conditions, TextKeys
from dcs_dit.model import Placement
from dcs_dit.sampling.noise import level_noise
from dcs_dit.sampling.settings import SamplingSettings, shifted

from .sampling_models import EXACT, joint, progressive, small_config, tokens_of
from .small_dit import CHANNELS, LEVELS, PICTURE, randn

STEPS = st.integers(1, 30)
SHIFTS = st.floats(0.1, 10)


class Flow(DCSDiT):
    """A generator whose velocity is a known function of tokens, their levels and the time."""

    def __init__(self, function: Callable[[Tensor, Tensor, float], Tensor]) -> None:
        super().__init__(small_config())
        self.function = function
        self.double().eval()

    def conditions(
        self,
        time: Tensor,
        labels: Tensor | None = None,
        text: TextStates | None = None,
        texts: tuple[TextKeys, ...] | None = None,
    ) -> Conditions:
        return Conditions((), time)

    def velocity(
        self,
        sequence: Tensor,
        placement: Placement,
        conditions: Conditions,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        (time,) = set(conditions.last.tolist())
        return self.function(sequence, placement.level, time)


def noise(seed: int = 5) -> Tensor:
    """Return what runs of one sample start from: (1, t, h, w, n, c)."""
    levels = [level_noise([seed], PICTURE, level, CHANNELS) for level in range(1, LEVELS + 1)]
    return torch.stack(levels, dim=2).unflatten(1, PICTURE).double()


def ends(dit: DCSDiT, steps: int, shift: float = 1.0) -> Tensor:
    """Return where a run ends; coarse to fine and all at once must agree."""
    request = {"seeds": [5], "steps": steps, "time_shift": shift}
    end = joint(dit, **request)
    torch.testing.assert_close(tokens_of(progressive(dit, **request)[-1]), end, **EXACT)
    return end


@given(steps=STEPS, shift=SHIFTS)
def test_a_constant_velocity_is_integrated_exactly(steps: int, shift: float) -> None:
    velocity = randn(LEVELS, CHANNELS)
    dit = Flow(lambda x, level, time: velocity[level])
    torch.testing.assert_close(ends(dit, steps, shift), noise() + velocity, **EXACT)


@given(steps=STEPS, shift=SHIFTS)
def test_a_straight_flow_to_a_point_arrives_whatever_the_steps(steps: int, shift: float) -> None:
    """Rectified flow of a single picture: v = (x1 - x) / (1 - t)."""
    target = randn(LEVELS, CHANNELS)
    dit = Flow(lambda x, level, time: (target[level] - x) / (1 - time))
    torch.testing.assert_close(
        ends(dit, steps, shift), target.expand(1, *PICTURE, LEVELS, CHANNELS), **EXACT
    )


@given(steps=STEPS, shift=SHIFTS)
def test_a_decay_is_the_product_of_its_steps(steps: int, shift: float) -> None:
    times = [shifted(i / steps, shift) for i in range(steps + 1)]
    factor = prod(1 - (after - before) for before, after in pairwise(times))
    torch.testing.assert_close(
        ends(Flow(lambda x, level, time: -x), steps, shift), factor * noise(), **EXACT
    )


@pytest.mark.parametrize("steps", [8, 16, 32])
def test_twice_the_steps_halve_the_error(steps: int) -> None:
    dit, exact = Flow(lambda x, level, time: -x), noise() / exp(1)
    error, half = ((ends(dit, count) - exact).norm() for count in (steps, 2 * steps))
    assert 0.45 < float(half / error) < 0.5


@given(steps=STEPS, shift=SHIFTS)
def test_a_velocity_is_taken_at_the_time_at_which_its_step_begins(steps: int, shift: float) -> None:
    asked: list[float] = []

    def velocity(x: Tensor, level: Tensor, time: float) -> Tensor:
        asked.append(time)
        return torch.full_like(x, time)

    end = joint(Flow(velocity), seeds=[5], steps=steps, time_shift=shift)
    times = SamplingSettings(steps=steps, time_shift=shift).times()
    assert asked == list(times[:-1])
    gained = sum(t * (u - t) for t, u in pairwise(times))
    torch.testing.assert_close(end, noise() + gained, **EXACT)


def test_labels_and_guidance_leave_a_velocity_that_knows_no_labels_as_it_is() -> None:
    dit = Flow(lambda x, level, time: x.cos())
    plain = joint(dit, seeds=[5], steps=4)
    guided = joint(dit, labels=[1], guidance_scale=6.0, seeds=[5], steps=4)
    torch.testing.assert_close(guided, plain, **EXACT)


# ---------------------------------------------------------------------- times


@given(steps=st.integers(1, 200), shift=st.floats(1e-3, 1e3))
def test_times_rise_from_noise_to_data(steps: int, shift: float) -> None:
    times = SamplingSettings(steps=steps, time_shift=shift).times()
    assert len(times) == steps + 1
    assert times[0] == 0
    assert times[-1] == pytest.approx(1, abs=1e-12)
    assert all(before < after for before, after in pairwise(times))


@given(time=st.floats(0, 1), shift=st.floats(1e-3, 1e3))
def test_the_shift_is_the_paper_s(time: float, shift: float) -> None:
    found = shifted(time, shift)
    # The odds t / (1 - t) are multiplied by s.
    assert found * (1 - time) == pytest.approx(shift * time * (1 - found), rel=1e-9, abs=1e-9)
    assert shifted(found, 1 / shift) == pytest.approx(time, abs=1e-9)


@given(time=st.floats(0, 1))
def test_a_shift_of_1_shifts_nothing(time: float) -> None:
    assert shifted(time, 1.0) == time


def test_a_small_shift_spends_more_steps_near_the_noise() -> None:
    few, many = (SamplingSettings(steps=50, time_shift=s).times() for s in (0.3, 3.0))
    assert few[25] < 0.5 < many[25]
    assert SamplingSettings(steps=50).times() == tuple(i / 50 for i in range(51))
