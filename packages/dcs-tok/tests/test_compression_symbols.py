"""Any symbol is coded under any distribution, at the bits that its table says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dcs_tok.compression.probability_tables import (
    CELLS,
    FRACTIONS,
    NUM_SCALES,
    SHIFTS,
    TABLE_SIZE,
    laplace_tables,
    whole_numbers,
)
from dcs_tok.compression.quantiser import MAX_SYMBOL
from dcs_tok.compression.symbol_coder import SymbolDecoder, SymbolEncoder, Tables

from .errors import error
from .small_codec import Ints

TABLES = Tables(laplace_tables())
SYMBOLS = st.one_of(
    st.integers(-3, 3), st.integers(-5000, 5000), st.integers(-MAX_SYMBOL, MAX_SYMBOL)
)
CODED = st.tuples(
    st.one_of(st.integers(-30, 30), st.integers(-8 * MAX_SYMBOL, 8 * MAX_SYMBOL)),
    st.integers(0, NUM_SCALES - 1),
    SYMBOLS,
)


def written(*calls: tuple[Ints, Ints, Ints]) -> bytes:
    encoder = SymbolEncoder(TABLES)
    for mean, scale, symbols in calls:
        encoder.code(mean, scale, symbols)
    return encoder.chunk()


@given(calls=st.lists(st.lists(CODED, min_size=1, max_size=40), min_size=1, max_size=3))
def test_symbols_come_back_under_any_mean_and_scale(calls: list[list[tuple[int, ...]]]) -> None:
    triples = [tuple(np.array(column) for column in zip(*call, strict=True)) for call in calls]
    decoder = SymbolDecoder(TABLES, written(*triples))
    for mean, scale, symbols in triples:
        assert np.array_equal(decoder.code(mean, scale), symbols)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [0, 20, 40, 50, 60, NUM_SCALES - 1])
def test_every_cell_and_the_first_escapes_come_back(scale: int, sign: int) -> None:
    """Around each edge of a cell, and of the last one before the escape, for every fraction."""
    width = 1 << int(SHIFTS[scale])
    edges = np.arange(CELLS + 3) * width
    residuals = sign * np.concatenate([edges - 1, edges, edges + 1])
    mean = np.arange(-FRACTIONS, 2 * FRACTIONS)[:, None] + 0 * residuals
    symbols = ((mean + FRACTIONS // 2) >> 3) + residuals
    scales = np.full_like(mean, scale)
    decoded = SymbolDecoder(TABLES, written((mean, scales, symbols))).code(mean, scales)
    assert np.array_equal(decoded, symbols)


def test_many_symbols_in_one_call_equal_many_calls() -> None:
    """Probabilities are handed over in pieces of 2^17 rows."""
    count = 2**17 + 5
    rng = np.random.default_rng(0)
    mean, scale = rng.integers(-20, 20, count), rng.integers(0, 30, count)
    symbols = rng.integers(-2, 3, count)
    chunk = written((mean, scale, symbols))
    assert np.array_equal(SymbolDecoder(TABLES, chunk).code(mean, scale), symbols)
    decoder = SymbolDecoder(TABLES, written((mean[:9], scale[:9], symbols[:9])))
    parts = [decoder.code(mean[i : i + 1], scale[i : i + 1]) for i in range(9)]
    assert not SHIFTS[scale[:9]].any()
    assert np.array_equal(np.concatenate(parts), symbols[:9])


@pytest.mark.parametrize("scale", [0, 12, 28, 44, 60, NUM_SCALES - 1])
def test_the_coded_size_is_that_of_the_tables(scale: int) -> None:
    """Within 1 % and the two words that a chunk ends with."""
    rng = np.random.default_rng(scale)
    mean = rng.integers(-40, 40, 5000)
    drawn = mean / FRACTIONS + rng.laplace(0, np.exp(scale / 8 - 3.5), 5000)
    symbols = np.rint(drawn).astype(np.int64)
    scales = np.full_like(mean, scale)
    ideal = TABLES.bits(mean, scales, symbols).sum()
    found = 8 * len(written((mean, scales, symbols)))
    assert ideal - 1 <= found <= 1.01 * ideal + 64


@pytest.mark.parametrize("scale", range(0, NUM_SCALES, 4))
def test_the_bits_of_all_symbols_are_those_of_one_distribution(scale: int) -> None:
    """The probabilities of the symbols that have a cell sum to 1, less the escape's."""
    row = np.arange(FRACTIONS)
    reach = (CELLS + 1) << int(SHIFTS[scale])
    symbols = np.arange(-reach, reach)
    symbols = symbols[np.abs(symbols >> SHIFTS[scale]) <= CELLS]
    for mean in row - FRACTIONS // 2:
        same = np.full_like(symbols, mean)
        bits = TABLES.bits(same, np.full_like(symbols, scale), symbols)
        escape = laplace_tables()[scale, mean + FRACTIONS // 2, -1] / 2**24
        assert (2.0**-bits).sum() == pytest.approx(1 - escape, abs=1e-12)


@pytest.mark.parametrize("scale", range(0, NUM_SCALES, 7))
def test_tables_are_nearly_as_good_as_the_distribution_itself(scale: int) -> None:
    """Within 1 %, which low bits that are coded as they are cost; without them, exactly."""
    b, mean = np.exp(scale / 8 - 3.5), 3
    symbols = np.arange(-int(16 * b) - 9, int(16 * b) + 10)
    edges = np.abs(np.stack([symbols - 0.5, symbols + 0.5]) - mean / FRACTIONS) / b
    tails = 0.5 * np.exp(-edges)
    mass = np.where(symbols == 0, 1 - tails.sum(axis=0), np.abs(tails[0] - tails[1]))
    same = np.full_like(symbols, scale)
    bits = TABLES.bits(np.full_like(symbols, mean), same, symbols)
    held = mass > 0
    allowed = 0.01 if SHIFTS[scale] else 3e-4
    entropy = -(mass[held] * np.log2(mass[held])).sum()
    assert -1e-6 < (mass * bits).sum() - entropy < allowed * entropy + 1e-6


def test_every_row_sums_to_2_to_the_24_without_a_zero() -> None:
    tables = laplace_tables()
    assert tables.shape == (NUM_SCALES, FRACTIONS, TABLE_SIZE)
    assert (tables.sum(axis=-1, dtype=np.int64) == 2**24).all()
    assert tables.min() >= 1


@given(
    mass=arrays(
        np.float64, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=st.floats(1e-12, 1e3)
    )
)
def test_whole_numbers_are_positive_and_close_to_their_masses(mass: np.ndarray) -> None:
    table = whole_numbers(mass)
    assert (table.sum(axis=-1, dtype=np.int64) == 2**24).all()
    assert table.min() >= 1
    wanted = mass / mass.sum(axis=-1, keepdims=True) * 2**24
    assert np.abs(table - wanted).max() <= 2 * mass.shape[-1] + 1


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_chunks_are_whole_words(length: int) -> None:
    with error("a chunk's length is no multiple of 4"):
        SymbolDecoder(TABLES, bytes(length))


def test_an_escape_that_nobody_writes_is_refused() -> None:
    """Magnitudes stay far below 32 bits."""
    encoder = SymbolEncoder(TABLES)
    one = np.array([0])
    encoder.code(one, one, np.array([2**33]))
    with error("an escape of 35 bits"):
        SymbolDecoder(TABLES, encoder.chunk()).code(one, one)
