"""Symbols to bits and back: a range coder under integer probability tables.

The coder is constriction's (Bamler 2022). Every symbol is a cell under its table, low bits of wide
residuals as they are, and, rarely, an escape (:mod:`dcs_tok.compression.probability_tables`).
"""

import constriction
import numpy as np
from numpy.typing import NDArray

from dcs_tok.compression.probability_tables import (
    CELLS,
    ESCAPE,
    FRACTIONS,
    PRECISION,
    SHIFTS,
)

Ints = NDArray[np.int64]

_CATEGORICAL = constriction.stream.model.Categorical(perfect=False)
_UNIFORM = constriction.stream.model.Uniform()
_LENGTHS = constriction.stream.model.Uniform(64)
_BITS_AT_ONCE = 2**16
_SYMBOLS_AT_ONCE = 2**17
"""Bounds the memory of the rows of probabilities that the coder is given."""


class DamagedDataError(ValueError):
    """Data that no coder has written."""


class Tables:
    """The tables in the forms that coder and rate-distortion search read.

    Args:
        tables: integers (scale, fraction, cell), rows of sum 2^24.
    """

    def __init__(self, tables: NDArray[np.int32]) -> None:
        flat = tables.reshape(-1, tables.shape[-1])
        self.probabilities = np.ascontiguousarray(flat, dtype=np.float32) / np.float32(2**PRECISION)
        self.costs = PRECISION - np.log2(flat.astype(np.float64))

    def bits(self, mean: Ints, scale: Ints, symbols: Ints) -> NDArray[np.float64]:
        """Return about how many bits symbols take; arguments as of :func:`parts`."""
        row, cell, low, _ = parts(mean, scale, symbols)
        parts_of_16_bits = 1 + (np.abs(low) >= 2**15)
        escaped = np.where(cell == ESCAPE, 6 + 16 * parts_of_16_bits, 0)
        return (self.costs[row, cell] + SHIFTS[scale] + escaped).astype(np.float64)


def parts(mean: Ints, scale: Ints, symbols: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return table row, cell, low bits and whole part of the mean.

    Args:
        mean: in eighths of a step.
        scale: index.
        symbols: integers, of the same shape.

    For an escaped symbol the low bits hold the whole residual.
    """
    row, whole = row_and_whole(mean, scale)
    residual = symbols - whole
    shift = SHIFTS[scale]
    cell = residual >> shift
    escaped = np.abs(cell) > CELLS
    low = np.where(escaped, residual, residual - (cell << shift))
    return row, np.where(escaped, ESCAPE, cell + CELLS), low, whole


def row_and_whole(mean: Ints, scale: Ints) -> tuple[Ints, Ints]:
    """Split means in eighths into the row of the table and the whole part."""
    whole = (mean + FRACTIONS // 2) >> 3
    fraction = mean - (whole << 3) + FRACTIONS // 2
    return scale * FRACTIONS + fraction, whole


class SymbolEncoder:
    """Writes one chunk."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._coder = constriction.stream.queue.RangeEncoder()

    def code(self, mean: Ints, scale: Ints, symbols: Ints) -> Ints:
        """Write symbols, each under its distribution; return them."""
        row, cell, low, _ = parts(mean.ravel(), scale.ravel(), symbols.ravel())
        shift = SHIFTS[scale.ravel()]
        for start in range(0, len(row), _SYMBOLS_AT_ONCE):
            part = slice(start, start + _SYMBOLS_AT_ONCE)
            self._coder.encode(
                cell[part].astype(np.int32), _CATEGORICAL, self._tables.probabilities[row[part]]
            )
        wide = (shift > 0) & (cell != ESCAPE)
        if wide.any():
            self._coder.encode(
                low[wide].astype(np.int32), _UNIFORM, (1 << shift[wide]).astype(np.int32)
            )
        for residual in low[cell == ESCAPE].tolist():
            self._escape(residual)
        return symbols

    def _escape(self, residual: int) -> None:
        value = 2 * residual if residual >= 0 else -2 * residual - 1
        length = value.bit_length()
        self._coder.encode(np.array([length], np.int32), _LENGTHS)
        while length > 0:
            self._coder.encode(np.array([value % _BITS_AT_ONCE], np.int32), _ESCAPED)
            value //= _BITS_AT_ONCE
            length -= 16

    def chunk(self) -> bytes:
        """Return what was written."""
        return self._coder.get_compressed().astype("<u4").tobytes()


_ESCAPED = constriction.stream.model.Uniform(_BITS_AT_ONCE)


class SymbolDecoder:
    """Reads one chunk.

    Raises:
        DamagedDataError: from any method, if the chunk cannot have been written.
    """

    def __init__(self, tables: Tables, chunk: bytes) -> None:
        if len(chunk) % 4:
            raise DamagedDataError("a chunk's length is no multiple of 4")
        self._tables = tables
        words = np.frombuffer(chunk, "<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def code(self, mean: Ints, scale: Ints) -> Ints:
        """Read symbols, each under its distribution."""
        shape = mean.shape
        mean, scale = mean.ravel(), scale.ravel()
        row, whole = row_and_whole(mean, scale)
        shift = SHIFTS[scale]
        try:
            cells = [
                self._coder.decode(
                    _CATEGORICAL, self._tables.probabilities[row[start : start + _SYMBOLS_AT_ONCE]]
                )
                for start in range(0, len(row), _SYMBOLS_AT_ONCE)
            ]
            cell = np.concatenate([np.asarray(c) for c in cells]).astype(np.int64)
            residual = (cell - CELLS) << shift
            wide = (shift > 0) & (cell != ESCAPE)
            if wide.any():
                low = self._coder.decode(_UNIFORM, (1 << shift[wide]).astype(np.int32))
                residual[wide] += np.asarray(low)
            for place in np.flatnonzero(cell == ESCAPE).tolist():
                residual[place] = self._escape()
        except (AssertionError, ValueError) as error:
            raise DamagedDataError(str(error)) from None
        return (whole + residual).reshape(shape)

    def _escape(self) -> int:
        length = int(self._coder.decode(_LENGTHS))
        if length > 32:
            raise DamagedDataError(f"an escape of {length} bits")
        value = 0
        for place in range(0, length, 16):
            value += int(self._coder.decode(_ESCAPED)) << place
        return value // 2 if value % 2 == 0 else -(value + 1) // 2
