"""Level sampling has the marginals it names, in every draw (Sec. 3.3, 6.3, Table 4)."""

import re
from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.levels import check_level_map, level_probabilities, sample_level_map

N = 4
P = [m / 10 for m in (1, 2, 3, 4)]
ALIKE = [1 / 4] * 4
DRAWS = ("stratified", "independent", "sample")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_marginal(counts: Tensor, draws: int, expected: list[float] = P) -> None:
    """Shares of 1 to N along the last axis are p_m within five deviations of a binomial."""
    for m, p in enumerate(expected, start=1):
        share = (counts == m).double().mean(dim=-1)
        assert (share - p).abs().max() < 5 * sqrt(p * (1 - p) / draws)


@pytest.mark.parametrize("n", [1, 4, 8])
def test_probabilities_are_the_papers(n: int) -> None:
    expected = [m / (n * (n + 1) / 2) for m in range(1, n + 1)]
    assert level_probabilities(n).tolist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("n", [1, 3, 7])
def test_equal_weights_treat_counts_alike(n: int) -> None:
    probabilities = level_probabilities(n, "equal")
    assert probabilities.dtype == torch.float64
    assert probabilities.tolist() == pytest.approx([1 / n] * n, abs=1e-15)


def test_independent_draws_have_the_papers_marginal() -> None:
    drawn = sample_level_map((5, 3, 31, 37), N, draw="independent", generator=generator())
    assert_marginal(drawn.flatten(), drawn.numel())


@pytest.mark.parametrize(("weights", "expected"), [("linear", P), ("equal", ALIKE)])
@pytest.mark.parametrize("draw", DRAWS)
def test_every_patch_has_the_marginal_of_the_weights(
    draw: str, weights: str, expected: list[float]
) -> None:
    """Each of 24 places on its own, over 3000 batches; places must not be favoured."""
    source = generator(1)
    maps = [
        sample_level_map((2, 2, 2, 3), N, draw=draw, weights=weights, generator=source)
        for _ in range(3000)
    ]
    assert_marginal(torch.stack(maps, dim=-1).flatten(0, 3), 3000, expected)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("weights", "expected"), [("linear", P), ("equal", ALIKE)])
def test_uniform_maps_have_the_marginal_of_the_weights(
    weights: str, expected: list[float], draw: str
) -> None:
    source = generator(2)
    drawn = []
    for _ in range(3000):
        level_map = sample_level_map(
            (2, 1, 2, 3), N, draw=draw, weights=weights, uniform_share=1.0, generator=source
        )
        assert level_map.min() == level_map.max()
        drawn.append(level_map[0, 0, 0, 0])
    assert_marginal(torch.stack(drawn), 3000, expected)


def test_a_sample_has_one_count_of_its_own() -> None:
    """All patches of a sample agree; two samples agree as often as independent draws do."""
    source = generator(8)
    agree = 0
    for _ in range(2000):
        level_map = sample_level_map((2, 3, 2, 5), N, draw="sample", generator=source)
        assert (level_map.shape, level_map.dtype) == ((2, 3, 2, 5), torch.int64)
        one, other = level_map.flatten(1)
        assert one.min() == one.max()
        assert other.min() == other.max()
        agree += bool(one[0] == other[0])
    p = sum(p * p for p in P)
    assert abs(agree / 2000 - p) < 5 * sqrt(p * (1 - p) / 2000)


@pytest.mark.parametrize("uniform_share", [0.0, 1.0])
def test_a_map_of_one_count_can_be_written_to(uniform_share: float) -> None:
    """It is spread over the patches, but not by views of one number."""
    level_map = sample_level_map(
        (2, 3, 5, 7), 8, draw="sample", uniform_share=uniform_share, generator=generator(9)
    )
    before = level_map.clone()
    level_map[1, 2, 4, 6] = -1
    assert (level_map != before).sum() == 1


@given(
    shape=st.tuples(*(st.integers(1, most) for most in (3, 3, 5, 7))),
    n=st.integers(1, 8),
    weights=st.sampled_from(("linear", "equal")),
    seed=st.integers(0, 10**6),
)
def test_stratified_draws_are_rectangular(
    shape: tuple[int, int, int, int], n: int, weights: str, seed: int
) -> None:
    """Every segment of every sample has equally many tokens at each level, near the mean."""
    level_map = sample_level_map(shape, n, weights=weights, generator=generator(seed))
    assert tuple(level_map.shape) == shape
    assert (level_map.dtype, level_map.device.type) == (torch.int64, "cpu")
    patches = shape[2] * shape[3]
    at_least = level_probabilities(n, weights).flip(0).cumsum(0).flip(0)
    for m in range(1, n + 1):
        tokens = (level_map >= m).sum(dim=(2, 3))
        assert tokens.min() == tokens.max()
        assert abs(int(tokens.max()) - patches * float(at_least[m - 1])) < 1 + 1e-9
    assert 1 <= level_map.min() <= level_map.max() <= n


def test_stratified_ranks_are_drawn_for_every_segment_and_sample() -> None:
    level_map = sample_level_map((3, 3, 7, 11), 8, generator=generator(3)).flatten(0, 1)
    pairs = [(i, j) for i in range(9) for j in range(i)]
    assert not any(torch.equal(level_map[i], level_map[j]) for i, j in pairs)


@pytest.mark.parametrize("draw", ["stratified", "independent"])  # not "sample": it mixes none
def test_without_a_uniform_share_grids_are_mixed(draw: str) -> None:
    source = generator(4)
    for _ in range(100):
        level_map = sample_level_map((1, 1, 7, 11), 8, draw=draw, generator=source)
        assert level_map.min() < level_map.max()


def test_the_uniform_share_is_a_probability() -> None:
    source = generator(5)
    uniform = 0
    for _ in range(2000):
        level_map = sample_level_map((2, 1, 5, 7), 8, uniform_share=0.3, generator=source)
        uniform += bool(level_map.min() == level_map.max())
    assert abs(uniform / 2000 - 0.3) < 5 * sqrt(0.3 * 0.7 / 2000)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("weights", "expected"), [("linear", P), ("equal", ALIKE)])
def test_the_full_share_adds_to_what_the_weights_give_all_levels(
    weights: str, expected: list[float], draw: str
) -> None:
    """Patches that do not get it have the marginal of the weights, all levels among it."""
    source = generator(10)
    maps = [
        sample_level_map(
            (2, 2, 2, 3), N, draw=draw, weights=weights, full_share=0.5, generator=source
        )
        for _ in range(3000)
    ]
    halved = [p / 2 for p in expected[:-1]]
    assert_marginal(torch.stack(maps, dim=-1).flatten(0, 3), 3000, [*halved, 1 - sum(halved)])


@pytest.mark.parametrize("draw", DRAWS)
def test_a_full_share_of_1_leaves_no_other_count(draw: str) -> None:
    drawn = sample_level_map((3, 2, 5, 7), 8, draw=draw, full_share=1.0, generator=generator(11))
    assert (drawn == 8).all()


@pytest.mark.parametrize("draw", DRAWS)
def test_without_a_full_share_draws_are_as_they_were(draw: str) -> None:
    plain, none = (
        sample_level_map((3, 2, 5, 7), 8, draw=draw, generator=generator(12), **shares)
        for shares in ({}, {"full_share": 0.0})
    )
    assert torch.equal(plain, none)


def test_uniform_maps_have_the_full_share_too() -> None:
    source, full = generator(13), 0
    for _ in range(2000):
        drawn = sample_level_map(
            (1, 1, 2, 3), N, uniform_share=1.0, full_share=0.5, generator=source
        )
        assert drawn.min() == drawn.max()
        full += bool(drawn.max() == N)
    assert abs(full / 2000 - 0.7) < 5 * sqrt(0.7 * 0.3 / 2000)


@pytest.mark.parametrize("draw", DRAWS)
def test_a_seed_gives_the_same_map(draw: str) -> None:
    first, again, other = (
        sample_level_map((3, 2, 5, 7), 8, draw=draw, generator=generator(seed))
        for seed in (6, 6, 7)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_counts_and_shared_maps_are_spread_over_the_batch() -> None:
    shape = (2, 3, 5, 7)
    assert torch.equal(check_level_map(3, shape, 4), torch.full(shape, 3))
    shared = sample_level_map((1, 3, 5, 7), 4, generator=generator())[0]
    assert torch.equal(check_level_map(shared, shape, 4), torch.stack([shared, shared]))
    own = sample_level_map(shape, 4, generator=generator())
    for dtype in (torch.uint8, torch.int16, torch.int64):
        checked = check_level_map(own.to(dtype), shape, 4)
        assert (checked.dtype, checked.equal(own)) == (torch.int64, True)


SHAPE = (2, 3, 5, 7)
RANGE = "`levels` must be between 1 and 4, but is {}. This model was trained with 4 levels."
SHAPES = (
    "A level map must have the shape (2, 3, 5, 7) or (3, 5, 7) of the patch grid, but has {}. "
    "Make one count per patch."
)
DTYPE = "A level map must hold integers, but its dtype is {}. Convert it with `.long()`."
COUNT = "`levels` must be an integer or an integer tensor, but is {}. Give a count from 1 to 4."


def with_one(value: int) -> Tensor:
    level_map = torch.full(SHAPE, 2)
    level_map[1, 2, 3, 4] = value
    return level_map


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (0, RANGE.format(0)),
        (5, RANGE.format(5)),
        (-1, RANGE.format(-1)),
        (with_one(0), RANGE.format(0)),
        (with_one(9), RANGE.format(9)),
        (torch.full(SHAPE, 2.0), DTYPE.format("torch.float32")),
        (torch.full(SHAPE, True), DTYPE.format("torch.bool")),
        (torch.full(SHAPE, 1j), DTYPE.format("torch.complex64")),
        (torch.ones(2, 3, 7, 5, dtype=torch.int64), SHAPES.format("(2, 3, 7, 5)")),
        (torch.ones(5, 7, dtype=torch.int64), SHAPES.format("(5, 7)")),
        (torch.tensor(2), SHAPES.format("()")),
        (2.0, COUNT.format("2.0")),
        (True, COUNT.format("True")),
        ("2", COUNT.format("'2'")),
        (None, COUNT.format("None")),
    ],
)
def test_level_maps_are_checked(levels: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_level_map(levels, SHAPE, 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uniform_share": 1.5}, "`uniform_share` must be in [0, 1], but is 1.5."),
        ({"uniform_share": -0.5}, "`uniform_share` must be in [0, 1], but is -0.5."),
        ({"full_share": 1.5}, "`full_share` must be in [0, 1], but is 1.5."),
        ({"full_share": -0.5}, "`full_share` must be in [0, 1], but is -0.5."),
        (
            {"draw": "sorted"},
            "`draw` must be 'stratified', 'independent' or 'sample', but is 'sorted'. "
            "Choose one of them.",
        ),
        (
            {"weights": "square"},
            "`weights` must be 'linear' or 'equal', but is 'square'. Choose one.",
        ),
    ],
)
def test_settings_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        sample_level_map((1, 1, 2, 3), 4, **change)  # type: ignore[arg-type]
