"""Level maps in a file: each count under what its neighbours' counts were followed by so far.

Adaptive and in integers: counts of counts, kept for each rounded mean of the left, upper and
previous segment's count.
"""

import constriction
import numpy as np
from numpy.typing import NDArray

from dcs_tok.compression.symbol_coder import DamagedDataError

Ints = NDArray[np.int64]

_STEP = 24
"""What one occurrence adds; a fresh context holds 1 for each count."""
_CATEGORICAL = constriction.stream.model.Categorical(perfect=False)


class _Adaptive:
    """Frequencies of counts by context."""

    def __init__(self, num_levels: int) -> None:
        self._frequencies = np.ones((num_levels + 1, num_levels), dtype=np.float32)

    def row(self, context: int) -> NDArray[np.float32]:
        return self._frequencies[context : context + 1]

    def add(self, context: int, count: int) -> None:
        self._frequencies[context, count - 1] += _STEP


def _context(counts: list[list[list[int]]], s: int, y: int, x: int) -> int:
    known = []
    if x:
        known.append(counts[s][y][x - 1])
    if y:
        known.append(counts[s][y - 1][x])
    if s:
        known.append(counts[s - 1][y][x])
    return (2 * sum(known) + len(known)) // (2 * len(known)) if known else 0


def encode_level_map(levels: Ints) -> bytes:
    """Return bytes of counts (t, h, w) from 1."""
    counts = levels.tolist()
    adaptive = _Adaptive(int(levels.max()))
    coder = constriction.stream.queue.RangeEncoder()
    for s, y, x in np.ndindex(levels.shape):
        context, count = _context(counts, s, y, x), counts[s][y][x]
        coder.encode(np.array([count - 1], np.int32), _CATEGORICAL, adaptive.row(context))
        adaptive.add(context, count)
    return bytes(coder.get_compressed().astype("<u4").tobytes())


def decode_level_map(data: bytes, shape: tuple[int, int, int], num_levels: int) -> Ints:
    """Return counts (t, h, w).

    Raises:
        DamagedDataError: if no map gives these bytes.
    """
    if len(data) % 4:
        raise DamagedDataError("a level map of a length that is no multiple of 4")
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    adaptive = _Adaptive(num_levels)
    counts = [[[0] * shape[2] for _ in range(shape[1])] for _ in range(shape[0])]
    try:
        for s, y, x in np.ndindex(shape):
            context = _context(counts, s, y, x)
            count = int(coder.decode(_CATEGORICAL, adaptive.row(context))[0]) + 1
            counts[s][y][x] = count
            adaptive.add(context, count)
    except (AssertionError, ValueError) as error:
        raise DamagedDataError(f"a level map that does not decode: {error}") from None
    return np.array(counts, dtype=np.int64)
