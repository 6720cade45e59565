"""No prediction depends on what a decoder does not know yet, trained or in integers."""

from itertools import product

import numpy as np
import pytest
import torch

from dcs_tok.compression.context_network import PASSES

from .small_codec import Ints, symbol_code
from .test_compression_context import AREA, CHANNELS, LEVELS, QUALITY, trained_form, walked

SHAPE = (3, 4, 5)
Place = tuple[int, int, int, int]


def order() -> Ints:
    """Return when each patch's levels are decoded (t, h, w, n): by level, segment and pass."""
    when = np.empty((*SHAPE, LEVELS), dtype=np.int64)
    for t, y, x, level in np.ndindex(when.shape):
        when[t, y, x, level] = 100 * level + 10 * t + PASSES.index((y % 2, x % 2))
    return when


def integer_predictions(symbols: Ints) -> Ints:
    means, scales = walked(symbol_code(LEVELS, CHANNELS), symbols, np.full(SHAPE, LEVELS))
    return np.stack([means, scales], axis=-1)


def float_predictions(symbols: Ints) -> Ints:
    with torch.no_grad():
        outputs = trained_form(symbol_code(LEVELS, CHANNELS)).double()(
            torch.from_numpy(symbols).double().unsqueeze(0),
            torch.tensor([QUALITY]),
            torch.tensor([AREA]),
        )
    return np.stack([output[0].numpy() for output in outputs], axis=-1)


def symbols_of(seed: int) -> Ints:
    drawn = np.random.default_rng(seed).laplace(0, 3, (*SHAPE, LEVELS, CHANNELS))
    return np.rint(drawn).astype(np.int64)


PLACES = list(product((0, 1, 2), (0, 1), (2, 3), range(LEVELS)))


@pytest.mark.parametrize("form", [integer_predictions, float_predictions])
def test_a_symbol_changes_later_predictions_alone(form) -> None:
    symbols, when = symbols_of(0), order()
    before = form(symbols)
    for place in PLACES:
        changed = symbols.copy()
        changed[place] += 5
        differs = (form(changed) != before).any(axis=(-1, -2))
        assert when[differs].min(initial=999) > when[place], place


@pytest.mark.parametrize("form", [integer_predictions, float_predictions])
def test_predictions_use_what_is_known(form) -> None:
    """A symbol reaches neighbours of later passes, the next segment and the next level."""
    symbols = symbols_of(1)
    before = form(symbols)
    t, y, x, level = place = (0, 2, 2, 0)
    changed = symbols.copy()
    changed[place] += 90
    differs = (form(changed) != before).any(axis=(-1, -2))
    reached = {(t, 1, 1, level), (t, 2, 3, level), (t, 3, 2, level), (1, y, x, level)}
    reached |= {(t, y + dy, x + dx, level + 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    assert all(differs[place] for place in reached)
    assert not differs[1, ..., 1:].any()  # a state belongs to its segment


@pytest.mark.parametrize("level", range(1, LEVELS))
def test_fewer_levels_are_a_prefix_of_more(level: int) -> None:
    symbols = symbols_of(2)
    code = symbol_code(LEVELS, CHANNELS)
    few = walked(code, symbols[..., :level, :], np.full(SHAPE, level))
    for one, other in zip(few, walked(code, symbols, np.full(SHAPE, LEVELS)), strict=True):
        assert np.array_equal(one, other[..., :level, :])
