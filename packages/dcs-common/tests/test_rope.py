"""Grouped rotary embedding: what a rotation keeps, and its frequencies (Sec. 6.2)."""

import re
from fractions import Fraction
from math import cos, pi, sin, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.rope import GroupedRope, RopeConfig, Rotation, rotate, split_pairs

SMALL = RopeConfig(spatial_steps=4, segment_horizon=8, level_horizon=8, shares=(1, 1, 1, 1))
COORDINATES = st.tuples(*(st.floats(0, most) for most in (8, 1.7, 1.7, 8)))


def randn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def at(rope: GroupedRope, *coordinates: tuple[float, ...]) -> Rotation:
    table = torch.tensor(coordinates, dtype=torch.float64)
    return rope(table, torch.empty(0, dtype=torch.float64))


def plain_rotation(x: Tensor, rotation: Rotation) -> Tensor:
    """The textbook formula on channel pairs (c, c + head_dim / 2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [
            first * rotation.cos - second * rotation.sin,
            second * rotation.cos + first * rotation.sin,
        ],
        dim=-1,
    )


def test_table_of_a_small_head() -> None:
    """Two pairs for each axis, at (segment, row, column, level) = (1, 1/4, 1/2, 2)."""
    rotation = at(GroupedRope(16, SMALL), (1, 0.25, 0.5, 2))
    half = sqrt(0.5)
    angles_over_pi = [1 / 8, 1, 1 / 4, 1, 1 / 2, 2, 1 / 4, 2]
    cosines = [0.9238795325112867, -1, half, -1, 0, 1, half, 1]
    sines = [0.3826834323650898, 0, half, 0, 1, 0, half, 0]
    assert rotation.cos.flatten().tolist() == pytest.approx(cosines, abs=1e-12)
    assert rotation.sin.flatten().tolist() == pytest.approx(sines, abs=1e-12)
    assert cosines == pytest.approx([cos(pi * angle) for angle in angles_over_pi], abs=1e-12)
    assert sines == pytest.approx([sin(pi * angle) for angle in angles_over_pi], abs=1e-12)


def test_a_pair_is_a_channel_and_the_one_half_a_head_further() -> None:
    rotation = at(GroupedRope(16, SMALL), (1, 0.25, 0.5, 2))
    turned = rotate(torch.eye(16, dtype=torch.float64)[:, None, None], rotation)[:, 0, 0]
    for c in range(8):
        expected = torch.zeros(2, 16, dtype=torch.float64)
        expected[0, c], expected[0, c + 8] = rotation.cos[0, 0, c], rotation.sin[0, 0, c]
        expected[1, c], expected[1, c + 8] = -rotation.sin[0, 0, c], rotation.cos[0, 0, c]
        assert torch.equal(turned[[c, c + 8]], expected)


def test_frequencies_end_where_the_config_says() -> None:
    """Half a turn over the longest distance; half a turn per sample of the finest grid."""
    config = RopeConfig(
        spatial_steps=24, segment_horizon=12, level_horizon=8, segment_step=0.1, shares=(3, 4, 5, 6)
    )
    rope = GroupedRope(36, config)
    assert rope.pairs == (3, 4, 5, 6)
    ends = [(pi / 12, 10 * pi), (pi, 24 * pi), (pi, 24 * pi), (pi / 8, pi)]
    start = 0
    for axis, count in enumerate(rope.pairs):
        unit = torch.zeros(1, 4, dtype=torch.float64)
        unit[0, axis] = 1e-3  # small: no angle wraps around
        rotation = rope(unit, unit)
        angles = torch.atan2(rotation.sin, rotation.cos).flatten() * 1e3
        own = angles[start : start + count]
        assert (own[0].item(), own[-1].item()) == pytest.approx(ends[axis], rel=1e-9)
        ratios = own[1:] / own[:-1]
        assert ratios.tolist() == pytest.approx([ratios[0].item()] * (count - 1), rel=1e-9)
        angles[start : start + count] = 0
        assert not angles.any()
        start += count


def test_a_single_pair_takes_the_geometric_middle() -> None:
    rope = GroupedRope(8, SMALL)
    rotation = at(rope, (1e-3, 0, 0, 0), (0, 1e-3, 0, 0))
    angles = torch.atan2(rotation.sin, rotation.cos).squeeze(1) * 1e3
    assert angles[0, 0].item() == pytest.approx(pi / sqrt(8))
    assert angles[1, 1].item() == pytest.approx(2 * pi)


@given(coordinates=COORDINATES, seed=st.integers(0, 99))
def test_rotation_keeps_norms(coordinates: tuple[float, ...], seed: int) -> None:
    x = randn(1, 3, 22, seed=seed)
    rope = GroupedRope(22, RopeConfig(spatial_steps=16, segment_horizon=8))
    turned = rotate(x, at(rope, coordinates))
    assert (turned.norm(dim=-1) - x.norm(dim=-1)).abs().max() < 1e-12


@given(first=COORDINATES, second=COORDINATES, shift=COORDINATES)
def test_attention_depends_on_distances_alone(
    first: tuple[float, ...], second: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    rope = GroupedRope(22, RopeConfig(spatial_steps=16, segment_horizon=8))
    query, key = randn(1, 3, 22, seed=1), randn(1, 3, 22, seed=2)

    def logits(move: tuple[float, ...]) -> Tensor:
        places = [
            tuple(a + b for a, b in zip(place, move, strict=True)) for place in (first, second)
        ]
        return (rotate(query, at(rope, places[0])) * rotate(key, at(rope, places[1]))).sum(dim=-1)

    assert (logits(shift) - logits((0, 0, 0, 0))).abs().max() < 1e-9


def test_every_axis_tells_places_apart() -> None:
    rope = GroupedRope(22, RopeConfig(spatial_steps=16, segment_horizon=8))
    query, key = randn(1, 1, 22, seed=1), randn(1, 1, 22, seed=2)
    origin = at(rope, (0, 0, 0, 0))
    for axis in range(4):
        moved = at(rope, tuple(0.3 * (i == axis) for i in range(4)))
        change = (rotate(query, moved) * rotate(key, origin)).sum() - (query * key).sum()
        assert change.abs() > 1e-3


@given(coordinates=COORDINATES, absent=st.sets(st.integers(0, 3)))
def test_an_absent_axis_is_not_rotated(coordinates: tuple[float, ...], absent: set[int]) -> None:
    """Exactly: pixels have no level and latent tokens of a patch no place."""
    rope = GroupedRope(24, RopeConfig(spatial_steps=16, segment_horizon=8, shares=(3, 3, 3, 3)))
    place = tuple(0.0 if axis in absent else value for axis, value in enumerate(coordinates))
    x = randn(1, 2, 24)
    turned = rotate(x, at(rope, place)).view(2, 2, 4, 3)  # heads, halves, axes, pairs
    for axis in absent:
        assert torch.equal(turned[:, :, axis], x.view(2, 2, 4, 3)[:, :, axis])


@given(
    pairs=st.integers(1, 64),
    shares=st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any).map(tuple),
)
def test_pairs_are_shared_out_by_largest_remainder(pairs: int, shares: tuple[int, ...]) -> None:
    counts = split_pairs(pairs, shares)
    exact = [Fraction(pairs * share, sum(shares)) for share in shares]
    assert sum(counts) == pairs
    rounded_up = [(i, e % 1) for i, (c, e) in enumerate(zip(counts, exact, strict=True)) if c > e]
    rounded_down = [(i, e % 1) for i, (c, e) in enumerate(zip(counts, exact, strict=True)) if c < e]
    assert all(abs(c - e) < 1 for c, e in zip(counts, exact, strict=True))
    for i, more in rounded_up:
        for j, less in rounded_down:
            assert (more, -i) > (less, -j)  # the first axes win ties


def test_default_shares_of_the_papers_heads() -> None:
    assert split_pairs(32, (2, 5, 5, 4)) == (4, 10, 10, 8)  # 768 / 12 = 64 channels
    assert split_pairs(16, (2, 5, 5, 4)) == (2, 5, 5, 4)  # 256 / 8 = 32 channels


def test_values_and_gradients_are_the_plain_formulas() -> None:
    rope = GroupedRope(22, RopeConfig(spatial_steps=16, segment_horizon=8))
    rotation = rope(3 * randn(5, 4, seed=3).abs(), randn(1))
    x, cotangent = randn(2, 5, 3, 22).requires_grad_(), randn(2, 5, 3, 22, seed=4)
    fast, plain = rotate(x, rotation), plain_rotation(x, rotation)
    assert (fast - plain).abs().max() < 1e-12
    (gradient,) = torch.autograd.grad(fast, x, cotangent)
    (expected,) = torch.autograd.grad(plain, x, cotangent)
    assert (gradient - expected).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tokens_keep_their_precision(dtype: torch.dtype) -> None:
    """As under autocast, where rotations are float32 and projections are not."""
    rotation = GroupedRope(22, SMALL)(randn(5, 4).abs(), torch.empty(0))
    x = randn(2, 5, 3, 22)
    turned = rotate(x.to(dtype), rotation)
    assert turned.dtype == dtype
    assert (turned - plain_rotation(x, rotation)).abs().max() < 0.05


def test_the_tokens_that_are_rotated_stay_as_they_were() -> None:
    rotation = GroupedRope(22, SMALL)(randn(5, 4).abs(), randn(1))
    x = randn(2, 5, 3, 22)
    before = x.clone()
    assert not torch.equal(rotate(x, rotation), before)
    assert torch.equal(x, before)


def test_gradients_of_both_orders_are_right() -> None:
    rotation = GroupedRope(6, SMALL)(randn(2, 4).abs(), randn(1))
    x = randn(2, 2, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotate(x, rotation), x)
    assert torch.autograd.gradgradcheck(lambda x: rotate(x, rotation), x)


def test_tokens_of_a_rotation_can_be_selected() -> None:
    rope = GroupedRope(22, SMALL)
    places = randn(7, 4, seed=5).abs()
    rotation = rope(places, places)
    index = torch.tensor([5, 0, 3, 3])
    for part, chosen in (
        (rotation.index(index), places[index]),
        (rotation.slice(2, 6), places[2:6]),
    ):
        assert torch.equal(part.cos, rope(chosen, places).cos)
        assert torch.equal(part.sin, rope(chosen, places).sin)


def test_a_model_built_without_memory_has_the_same_angles() -> None:
    """Models are loaded by way of the meta device, and may be cast to another type."""
    with torch.device("meta"):
        rope = GroupedRope(22, SMALL)
    like = torch.empty(0, dtype=torch.bfloat16)
    places = randn(7, 4).abs()
    expected = GroupedRope(22, SMALL)(places, like)
    rotation = rope.to(torch.bfloat16)(places, like)
    assert rotation.cos.dtype == torch.bfloat16
    assert torch.equal(rotation.cos, expected.cos)
    assert torch.equal(rotation.sin, expected.sin)


GRIDS = "Rotary grids and horizons must be at least 1, but are {}."
SHARES = (
    "`shares` must be four non-negative integers, but is {}. "
    "Give one for each of segment, row, column, level."
)
STEP = (
    "`segment_step` must be positive, but is {}. "
    "Give the distance of two neighbours in time, 1 for segments."
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spatial_steps": 0}, GRIDS.format("(0, 8, 8)")),
        ({"segment_horizon": 0}, GRIDS.format("(4, 0, 8)")),
        ({"level_horizon": -1}, GRIDS.format("(4, 8, -1)")),
        ({"segment_step": 0.0}, STEP.format("0.0")),
        ({"segment_step": float("nan")}, STEP.format("nan")),
        ({"shares": (1, 2, 3)}, SHARES.format("(1, 2, 3)")),
        ({"shares": (1, 2, 3, -1)}, SHARES.format("(1, 2, 3, -1)")),
        ({"shares": (0, 0, 0, 0)}, SHARES.format("(0, 0, 0, 0)")),
    ],
)
def test_configs_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RopeConfig(**{"spatial_steps": 4, "segment_horizon": 8, **change})  # type: ignore[arg-type]


def test_heads_must_hold_pairs() -> None:
    message = "`head_dim` must be even, but is 7."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        GroupedRope(7, SMALL)
