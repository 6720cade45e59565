"""Draws depend on what they are for and on nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.training import seeded_generator
from dcs_common.training.epoch_order import EpochOrder


def test_every_key_has_numbers_of_its_own() -> None:
    keys = [(seed, name, step) for seed in range(3) for name in "ab" for step in range(50)]
    keys += [(1, 23), (12, 3), (123,), ("1", 23), (-1, 2**70)]
    draws = {
        float(torch.rand((), generator=seeded_generator(*key), dtype=torch.float64)) for key in keys
    }
    assert len(draws) == len(keys)


def test_the_same_key_gives_the_same_numbers_in_every_release() -> None:
    """A run that is continued after an update must see the same data."""
    drawn = torch.randint(1000, (4,), generator=seeded_generator(7, "sample", 3, 0))
    assert drawn.tolist() == [491, 57, 331, 608]


@given(count=st.integers(1, 50), seed=st.integers(0, 2**40), epoch=st.integers(0, 10**6))
def test_each_epoch_holds_everything_once(count: int, seed: int, epoch: int) -> None:
    order = EpochOrder(count, (seed,))
    places = [order[epoch * count + i] for i in range(count)]
    assert sorted(places) == list(range(count))
    assert [EpochOrder(count, (seed,))[epoch * count + i] for i in range(count)] == places


def test_epochs_and_runs_have_other_orders() -> None:
    orders = {
        tuple(EpochOrder(11, (seed,))[epoch * 11 + i] for i in range(11))
        for seed in range(4)
        for epoch in range(5)
    }
    assert len(orders) == 20


@given(positions=st.lists(st.integers(0, 99), min_size=1))
def test_positions_may_be_asked_for_in_any_order(positions: list[int]) -> None:
    order = EpochOrder(7, (3,))
    assert [order[i] for i in positions] == [EpochOrder(7, (3,))[i] for i in positions]
    assert len(order._orders) <= 15


def test_only_neighbouring_epochs_are_remembered() -> None:
    order = EpochOrder(5, (0,))
    for position in range(500):
        order[position]
    assert len(order._orders) == 2


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_replacements_belong_to_their_position(count: int) -> None:
    order = EpochOrder(count, (0,))
    drawn = [order.replacements(position, 9) for position in range(3)]
    assert drawn == [EpochOrder(count, (0,)).replacements(position, 9) for position in range(3)]
    assert all(0 <= other < count for others in drawn for other in others)
    assert count < 1000 or len({other for others in drawn for other in others}) > 20
