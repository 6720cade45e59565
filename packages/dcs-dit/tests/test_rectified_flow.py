"""The path from noise to data, its velocity, and the two losses on it (Table 5)."""

from statistics import NormalDist

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from dcs_dit.training.rectified_flow import (
    flow_errors,
    logit_normal_times,
    mean_over_active,
    path,
)

from .small_dit import CHANNELS, CLOSE, LEVELS, PICTURE, randn

SHAPE = (3, *PICTURE, LEVELS, CHANNELS)
EXACT = {"rtol": 0, "atol": 1e-6}
"""Losses are taken in float32."""


def test_times_0_and_1_are_noise_and_data() -> None:
    data, noise = randn(*SHAPE), randn(*SHAPE, seed=1)
    at, velocity = path(data, noise, torch.tensor([0.0, 1.0, 0.0]).double())
    assert torch.equal(at[[0, 2]], noise[[0, 2]])
    assert torch.equal(at[1], data[1])
    assert torch.equal(velocity, data - noise)


@given(times=st.lists(st.floats(0, 1), min_size=3, max_size=3), step=st.floats(-1, 1))
def test_the_velocity_is_constant_along_the_path(times: list[float], step: float) -> None:
    data, noise = randn(*SHAPE), randn(*SHAPE, seed=1)
    time = torch.tensor(times, dtype=torch.float64)
    at, velocity = path(data, noise, time)
    later, same = path(data, noise, time + step)
    assert torch.equal(velocity, same)
    torch.testing.assert_close(later, at + step * velocity, **CLOSE)
    # From any time, the rest of the way leads to the data.
    left = (1 - time).view(-1, 1, 1, 1, 1, 1)
    torch.testing.assert_close(at + left * velocity, data, **CLOSE)


def test_the_truth_has_no_error() -> None:
    target = randn(*SHAPE)
    errors = flow_errors(target, target)
    assert errors.squared.shape == errors.direction.shape == SHAPE[:-1]
    assert not errors.squared.any()
    torch.testing.assert_close(errors.direction, torch.zeros(SHAPE[:-1]), **EXACT)


@given(scale=st.floats(0.1, 10))
def test_the_direction_knows_no_scale(scale: float) -> None:
    velocity, target = randn(*SHAPE), randn(*SHAPE, seed=1)
    plain = flow_errors(velocity, target)
    scaled = flow_errors(scale * velocity, target / scale)
    torch.testing.assert_close(scaled.direction, plain.direction, rtol=0, atol=1e-5)
    opposite = flow_errors(-scale * target, target)
    torch.testing.assert_close(opposite.direction, torch.full(SHAPE[:-1], 2.0), **EXACT)
    expected = (1 + scale) ** 2 * target.square().mean(dim=-1)
    torch.testing.assert_close(opposite.squared, expected.float(), rtol=1e-5, atol=1e-6)


def test_errors_are_over_channels() -> None:
    velocity, target = torch.tensor([[1.0, 0, 0, 2], [3, 0, 0, 0]]), torch.tensor([0.0, 3, 0, 0])
    errors = flow_errors(velocity, target.expand(2, 4))
    torch.testing.assert_close(errors.squared, torch.tensor([14 / 4, 18 / 4]))
    torch.testing.assert_close(errors.direction, torch.ones(2))
    diagonal = flow_errors(torch.tensor([[1.0, 1]]), torch.tensor([[0.0, 2]]))
    torch.testing.assert_close(diagonal.direction, torch.tensor([1 - 0.5**0.5]))


def test_losses_stay_in_float32_for_velocities_in_bfloat16() -> None:
    errors = flow_errors(randn(*SHAPE).bfloat16(), randn(*SHAPE, seed=1).bfloat16())
    assert errors.squared.dtype == errors.direction.dtype == torch.float32


# ---------------------------------------------------------------------- the mean


def test_a_mean_over_mixed_levels_by_hand() -> None:
    errors = torch.zeros(2, 1, 1, 2, 3, dtype=torch.float64)
    errors[0, 0, 0] = torch.tensor([[1.0, 2, 700], [3, 4, 800]])
    errors[1, 0, 0] = torch.tensor([[6.0, 7, 8], [9, 10, 11]])
    # (1 + 2 + 3 + 4) / 4 and 51 / 6, each sample the same weight.
    assert float(mean_over_active(errors, torch.tensor([2, 3]))) == (2.5 + 8.5) / 2


@given(levels=st.lists(st.integers(1, LEVELS), min_size=1, max_size=6), data=st.data())
def test_any_division_of_a_batch_has_the_same_mean(levels: list[int], data: st.DataObject) -> None:
    b, counts = len(levels), torch.tensor(levels)
    errors = randn(b, *PICTURE, LEVELS)
    whole = mean_over_active(errors, counts)
    expected = sum(float(errors[i, ..., :m].mean()) for i, m in enumerate(levels)) / b
    assert float(whole) == pytest.approx(expected, abs=1e-12)
    cut = data.draw(st.integers(0, b - 1))
    halves = [(errors[part], counts[part]) for part in (slice(cut), slice(cut, b))]
    total = sum(len(m) * mean_over_active(e, m) for e, m in halves if len(m))
    torch.testing.assert_close(total / b, whole, **CLOSE)


def test_inactive_levels_have_no_gradient() -> None:
    errors = randn(2, *PICTURE, LEVELS).requires_grad_()
    levels = torch.tensor([2, 3])
    mean_over_active(errors, levels).backward()
    is_active = torch.arange(LEVELS) < levels.view(2, 1, 1, 1, 1)
    assert torch.equal(errors.grad != 0, is_active.expand(errors.shape))
    assert gradcheck(
        lambda x: mean_over_active(x, levels), randn(2, *PICTURE, LEVELS).requires_grad_()
    )


# ---------------------------------------------------------------------- times


def test_times_are_logit_normal() -> None:
    count = 100_000
    times = logit_normal_times(count, torch.Generator().manual_seed(0))
    assert times.shape == (count,)
    assert 0 < times.min() < times.max() < 1
    ordered = times.double().sort().values
    for share in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
        normal = NormalDist().inv_cdf(share)
        expected = 1 / (1 + torch.tensor(-normal, dtype=torch.float64).exp())
        # Three standard errors of the share of draws below.
        below = float((ordered < expected).double().mean())
        assert below == pytest.approx(share, abs=3 * (share * (1 - share) / count) ** 0.5)
    assert torch.logit(ordered).std() == pytest.approx(1, abs=0.01)


def test_times_come_from_their_generator() -> None:
    first, same, other = (
        logit_normal_times(9, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
