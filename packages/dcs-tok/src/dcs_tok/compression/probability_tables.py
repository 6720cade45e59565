"""Integer probability tables of symbols, by the mean and scale of their distribution.

    residual r = symbol - whole part of the mean
    cell = r >> shift of the scale         coded by a table of the scale and of the mean's fraction
    r's lowest `shift` bits                coded as they are: nearly flat there (0.9 % at most)
    cells beyond +-CELLS                   coded as ESCAPE, then as a length and 16-bit parts

Scales are spaced by an eighth of their natural logarithm, which costs 0.1 % against exact ones, and
means by an eighth of a step. The tables are made once, from Laplace's distribution or from counts
(:mod:`dcs_tok.compression.fit_tables`), and shipped as integers: how a machine rounds logarithms or
exponentials decides nothing.
"""

from math import ceil, exp, log2

import numpy as np
from numpy.typing import NDArray

from dcs_tok.compression.context_network import MAX_LOG_SCALE, MIN_LOG_SCALE

SCALES_PER_E = 8
NUM_SCALES = int((MAX_LOG_SCALE - MIN_LOG_SCALE) * SCALES_PER_E) + 1
FRACTIONS = 8
CELLS = 16
"""Cells on each side of 0 that have a probability of their own."""
ESCAPE = 2 * CELLS + 1
TABLE_SIZE = ESCAPE + 1
PRECISION = 24
"""Probabilities are multiples of 2^-24."""

Ints = NDArray[np.int64]


def shift_of_scale(index: int) -> int:
    """Return how many low bits of a residual are coded as they are."""
    scale = exp(MIN_LOG_SCALE + index / SCALES_PER_E)
    return max(0, ceil(log2(scale / 2) - 1e-9))


SHIFTS: Ints = np.array([shift_of_scale(i) for i in range(NUM_SCALES)])


def laplace_tables() -> NDArray[np.int32]:
    """Return probabilities (scale, fraction, cell) of cells -CELLS..CELLS and the escape.

    Each row sums to 2^24 and holds no zero.
    """
    scales = np.exp(MIN_LOG_SCALE + np.arange(NUM_SCALES) / SCALES_PER_E)[:, None, None]
    fractions = (np.arange(FRACTIONS) - FRACTIONS // 2)[:, None] / FRACTIONS
    edges = np.arange(-CELLS, CELLS + 2) * 2.0 ** SHIFTS[:, None, None] - 0.5
    distance = (edges - fractions) / scales
    # The mass above an edge, from the near side, so that small ones stay exact.
    tail = 0.5 * np.exp(-np.abs(distance))
    same_side = np.abs(np.diff(tail, axis=-1))
    astride = (distance[..., :-1] < 0) & (distance[..., 1:] > 0)
    mass = np.where(astride, 1 - tail[..., :-1] - tail[..., 1:], same_side)
    escape = np.maximum(1 - mass.sum(axis=-1, keepdims=True), 0)
    return whole_numbers(np.concatenate([mass, escape], axis=-1))


def whole_numbers(mass: NDArray[np.float64]) -> NDArray[np.int32]:
    """Turn rows of masses into positive integers that sum to 2^24."""
    size = mass.shape[-1]
    mass = mass / mass.sum(axis=-1, keepdims=True)
    table = np.floor(mass * (2**PRECISION - size)).astype(np.int64) + 1
    missing = 2**PRECISION - table.sum(axis=-1, keepdims=True)
    np.put_along_axis(
        table,
        table.argmax(axis=-1, keepdims=True),
        table.max(axis=-1, keepdims=True) + missing,
        axis=-1,
    )
    return table.astype(np.int32)
