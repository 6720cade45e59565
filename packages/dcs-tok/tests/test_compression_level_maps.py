"""Level maps come back from their bytes, and smooth ones take few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from dcs_tok.compression.level_map_code import decode_level_map, encode_level_map

from .errors import error
from .small_codec import Ints

MAPS = arrays(
    np.int64,
    array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9),
    elements=st.integers(1, 64),
).filter(lambda levels: levels.max() > 1)
"""Maps of ones alone are written as a count."""


@given(levels=MAPS)
def test_any_map_comes_back(levels: Ints) -> None:
    found = decode_level_map(encode_level_map(levels), levels.shape, int(levels.max()))
    assert found.dtype == np.int64
    assert np.array_equal(found, levels)


def hills(t: int, h: int, w: int) -> Ints:
    """Counts 1 to 8 that change slowly in space and hardly over segments."""
    s, y, x = np.meshgrid(np.arange(t), np.arange(h), np.arange(w), indexing="ij")
    return np.rint(4.5 + 3.5 * np.sin(y / 7 + s / 20) * np.cos(x / 9)).astype(np.int64)


def bits_per_patch(levels: Ints) -> float:
    return 8 * len(encode_level_map(levels)) / levels.size


def test_smooth_maps_take_less_than_a_bit_for_a_patch() -> None:
    smooth = hills(3, 32, 48)
    shuffled = np.random.default_rng(0).permutation(smooth.ravel()).reshape(smooth.shape)
    assert bits_per_patch(smooth) < 1
    assert bits_per_patch(smooth) < bits_per_patch(shuffled) / 2
    assert bits_per_patch(shuffled) < np.log2(8) + 0.2


def test_the_segment_before_tells_about_the_next() -> None:
    """A single patch whose count changes slowly: a third of what its shuffled counts take."""
    slow = np.rint(4.5 + 3.5 * np.sin(np.arange(400) / 12)).astype(np.int64).reshape(-1, 1, 1)
    shuffled = np.random.default_rng(0).permutation(slow)
    assert len(encode_level_map(slow)) < len(encode_level_map(shuffled)) / 2


def test_two_counts_adapt_to_the_rare_one() -> None:
    levels = np.ones((1, 64, 64), dtype=np.int64)
    levels[0, 5, 7] = 2
    assert len(encode_level_map(levels)) < 30


def test_bytes_that_are_no_map() -> None:
    with error("a level map of a length that is no multiple of 4"):
        decode_level_map(b"\0" * 5, (1, 2, 2), 3)


@given(data=st.binary(max_size=40), high=st.integers(1, 8))
def test_arbitrary_bytes_give_a_map_or_a_refusal(data: bytes, high: int) -> None:
    try:
        found = decode_level_map(data, (2, 5, 7), high)
    except ValueError as refusal:
        assert str(refusal).startswith("a level map ")
    else:
        assert found.shape == (2, 5, 7)
        assert 1 <= found.min() <= found.max() <= high


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 200), (200, 1, 1), (1, 200, 1)])
def test_lines_of_patches(shape: tuple[int, int, int]) -> None:
    levels = np.random.default_rng(1).integers(1, 6, shape)
    assert np.array_equal(decode_level_map(encode_level_map(levels), shape, levels.max()), levels)
