"""Symbols of pictures and clips come back, as far as there are chunks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_tok.compression.level_coding import SEGMENTS_PER_GROUP
from dcs_tok.compression.quantiser import MAX_AREA_CLASS, MAX_QUALITY, MAX_SYMBOL

from .small_codec import Ints, symbol_code

LEVELS, CHANNELS = 3, 2


def drawn_symbols(shape: tuple[int, ...], seed: int, largest: int) -> Ints:
    """Mostly zeros and small numbers, some up to ``largest``."""
    rng = np.random.default_rng(seed)
    small = np.rint(rng.laplace(0, 1, shape)).astype(np.int64)
    return np.where(rng.random(shape) < 0.1, rng.integers(-largest, largest + 1, shape), small)


def coded(
    symbols: Ints, level_map: Ints, quality: int = 40, area: int = 6
) -> tuple[list[bytes], Ints]:
    """Return chunks and the symbols (t, h, w, m, d) that they hold."""
    chunks, levels = [], []
    encoded = symbol_code().encode(symbols.astype(np.float64), level_map, quality, area, 0)
    for of_groups, of_level in encoded:
        chunks += of_groups
        levels.append(of_level)
    return chunks, np.stack(levels, axis=3)


def expected(symbols: Ints, held: Ints) -> Ints:
    """Return the symbols that patches of so many levels hold, zero elsewhere."""
    levels = int(held.max())
    active = np.arange(levels) < held[..., None]
    return np.where(active[..., None], symbols[..., :levels, :], 0)


GRIDS = st.one_of(
    st.just((1, 1, 1)),
    st.tuples(st.integers(1, 14), st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.just(1), st.sampled_from((1, 2)), st.integers(1, 40)),
)


@given(
    grid=GRIDS,
    seed=st.integers(0, 10**6),
    largest=st.sampled_from((0, 1, 30, 5000, MAX_SYMBOL)),
    highest=st.integers(1, LEVELS),
    quality=st.integers(0, MAX_QUALITY),
    area=st.integers(0, MAX_AREA_CLASS),
)
def test_symbols_come_back_from_any_prefix_of_chunks(
    grid: tuple[int, int, int], seed: int, largest: int, highest: int, quality: int, area: int
) -> None:
    symbols = drawn_symbols((*grid, LEVELS, CHANNELS), seed, largest)
    level_map = np.random.default_rng(seed).integers(1, highest + 1, grid)
    chunks, held_symbols = coded(symbols, level_map, quality, area)
    assert np.array_equal(held_symbols, expected(symbols, level_map))
    groups = -(-grid[0] // SEGMENTS_PER_GROUP)
    assert len(chunks) == groups * level_map.max()
    for count in range(groups, len(chunks) + 1):
        levels, more = divmod(count, groups)
        found, held = symbol_code().decode(chunks[:count], level_map, quality, area)
        whole = np.full(grid, levels)
        whole[: SEGMENTS_PER_GROUP * more] += 1
        assert np.array_equal(held, np.minimum(level_map, whole))
        levels = held.max()
        assert np.array_equal(found[..., :levels, :], expected(symbols, held))
        assert not found[..., levels:, :].any()


def test_a_chunk_of_zeros_is_empty() -> None:
    symbols = drawn_symbols((8, 2, 3, LEVELS, CHANNELS), 0, 9)
    symbols[:6, ..., 1, :] = 0
    symbols[..., 2, :] = 0
    level_map = np.full((8, 2, 3), LEVELS)
    chunks, _ = coded(symbols, level_map)
    assert [bool(chunk) for chunk in chunks] == [True, True, False, True, False, False]
    assert np.array_equal(symbol_code().decode(chunks, level_map, 40, 6)[0], symbols)


def test_a_chunk_holds_its_group_s_segments_alone() -> None:
    """Later segments change no chunk of an earlier second."""
    symbols = drawn_symbols((13, 2, 3, LEVELS, CHANNELS), 1, 9)
    level_map = np.full((13, 2, 3), LEVELS)
    other = symbols.copy()
    other[6:] = drawn_symbols((7, 2, 3, LEVELS, CHANNELS), 2, 9)
    one, two = coded(symbols, level_map)[0], coded(other, level_map)[0]
    assert [a == b for a, b in zip(one, two, strict=True)] == [True, False, False] * LEVELS


@pytest.mark.parametrize("change", ["quality", "area"])
def test_both_conditions_decide_the_code(change: str) -> None:
    symbols = drawn_symbols((1, 4, 5, LEVELS, CHANNELS), 3, 9)
    level_map = np.full((1, 4, 5), LEVELS)
    conditions = {"quality": 40, "area": 6}
    plain, _ = coded(symbols, level_map, **conditions)
    other, _ = coded(symbols, level_map, **{**conditions, change: conditions[change] + 9})
    assert plain != other


def test_symbols_beyond_what_pixels_reach_are_clamped() -> None:
    symbols = np.array([3e9, -3e9]).reshape(1, 1, 1, 1, 2)
    level_map = np.ones((1, 1, 1), dtype=np.int64)
    chunks, held = coded(symbols, level_map)
    assert held.ravel().tolist() == [MAX_SYMBOL, -MAX_SYMBOL]
    assert np.array_equal(symbol_code().decode(chunks, level_map, 40, 6)[0], held)
