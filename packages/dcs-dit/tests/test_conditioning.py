"""Time and label: what blocks are told, computed once for all levels of a step."""

from dataclasses import replace
from math import cos, exp, log, sin

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.token_layout import TokenLayout
from dcs_dit.conditioning import ConditionEmbedding, Modulation, time_features

from .small_dit import CLOSE, KINDS, LABELS, LEVELS, PICTURE, fresh, inputs, lively, model, randn
from .small_dit import small_config as config

NONE = len(LABELS)


@given(times=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5), half=st.integers(1, 8))
def test_time_features_are_cosines_and_sines_on_a_scale_of_1000_steps(
    times: list[float], half: int
) -> None:
    found = time_features(torch.tensor(times), 2 * half)
    for row, time in zip(found.tolist(), times, strict=True):
        angles = [1000 * time * exp(-log(10_000) * i / half) for i in range(half)]
        # An angle of up to 1000 in float32.
        assert row == pytest.approx([*map(cos, angles), *map(sin, angles)], abs=2e-4)


def test_times_are_told_apart() -> None:
    features = time_features(torch.linspace(0, 1, 101))
    distances = torch.cdist(features, features) + 100 * torch.eye(101)
    assert features.shape == (101, 256)
    assert distances.min() > 0.5


def test_time_features_are_the_same_in_any_precision_of_the_model() -> None:
    time = torch.tensor([0.1, 0.7])
    assert torch.equal(time_features(time), time_features(time.double()))


# ---------------------------------------------------------------------- labels


def _embedding() -> ConditionEmbedding:
    return lively(ConditionEmbedding(32, NONE)).double()


def test_no_labels_stand_for_the_label_after_the_last() -> None:
    embedding, time = _embedding(), torch.tensor([0.2, 0.9])
    assert torch.equal(embedding(time, None), embedding(time, torch.tensor([NONE, NONE])))


def test_every_label_says_something_else() -> None:
    embedding = _embedding()
    found = embedding(torch.full((NONE + 1,), 0.4), torch.arange(NONE + 1))
    assert torch.pdist(found).min() > 0.1
    expected = embedding.time(time_features(torch.tensor([0.4])).double())
    torch.testing.assert_close(found, expected + embedding.label.weight, **CLOSE)


def test_without_classes_labels_are_not_looked_at() -> None:
    embedding = lively(ConditionEmbedding(32, 0)).double()
    time = torch.tensor([0.2, 0.9])
    assert embedding.label is None
    assert torch.equal(embedding(time, None), embedding(time, torch.tensor([3, 0])))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_velocity_of_a_sample_without_label_is_that_of_none(kind: str) -> None:
    dit, together = model(kind), inputs([4, 2, 4], kind)
    without = replace(together, labels=torch.full((3,), NONE)).velocity(dit)
    assert torch.equal(replace(together, labels=None).velocity(dit), without)


@pytest.mark.parametrize("what", ["labels", "time"])
def test_label_and_time_matter_to_their_own_sample_alone(what: str) -> None:
    dit, together = model(), inputs([4, 2, 4])
    other = getattr(together, what).clone()
    other[1] = 0
    before, after = together.velocity(dit), replace(together, **{what: other}).velocity(dit)
    is_active = torch.arange(LEVELS) < 2
    assert torch.equal((after != before).any(dim=-1)[1], is_active.expand(*PICTURE, LEVELS))
    assert torch.equal(after[[0, 2]], before[[0, 2]])


# ---------------------------------------------------------------------- modulation


@pytest.mark.parametrize("rank", [None, 3])
def test_modulation_is_a_linear_map_of_the_activated_condition(rank: int | None) -> None:
    modulation, condition = lively(Modulation(32, 6, rank)).double(), randn(2, 32)
    x = condition * condition.sigmoid()
    if rank is not None:
        x = x @ modulation.narrow.weight.T + modulation.narrow.bias
    expected = x @ modulation.wide.weight.T + modulation.wide.bias
    torch.testing.assert_close(modulation(condition), expected.view(2, 6, 1, 32), **CLOSE)


def test_a_bottleneck_takes_fewer_weights() -> None:
    sizes = [
        sum(p.numel() for p in fresh(config(modulation_rank=rank)).parameters())
        for rank in (None, 3)
    ]
    # Two blocks: 32 x 192 + 192 against 32 x 3 + 3 and 3 x 192 + 192.
    assert sizes[0] - sizes[1] == 2 * (32 * 192 - 33 * 3 - 3 * 192)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_conditions_computed_once_serve_every_use(kind: str) -> None:
    dit, first, second = model(kind), inputs([3, 3], kind), inputs([3, 3], kind, seed=50)
    layout = TokenLayout.of(torch.full((2, *PICTURE), 3), LEVELS)
    place = dit.place(layout)
    conditions = dit.conditions(first.time, first.labels, first.text)
    for given_ in (first, replace(first, noised=second.noised), first):
        found = dit.velocity(layout.gather(given_.noised), place, conditions)
        assert torch.equal(layout.scatter(found), given_.velocity(dit))


def test_placement_names_each_token_s_level() -> None:
    layout = TokenLayout.of(torch.tensor([[[[3]]], [[[1]]], [[[3]]]]), LEVELS)
    place = model().place(layout)
    assert place.level.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert place.layout is layout
