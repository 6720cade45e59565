"""The context network in integers: what was trained, and the same numbers in any order."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from dcs_tok.compression.context_network import CLAMP, PASSES, ContextNetwork
from dcs_tok.compression.integer_context import _MAGNITUDES
from dcs_tok.compression.level_coding import SymbolCode
from dcs_tok.compression.probability_tables import NUM_SCALES

from .exact_context import exact_predictions
from .small_codec import Ints, symbol_code

LEVELS, CHANNELS = 3, 2
QUALITY, AREA = 40, 6


def walked(
    code: SymbolCode, symbols: Ints, level_map: Ints, quality: int = QUALITY, area: int = AREA
) -> tuple[Ints, Ints]:
    """Return means and scale indices (t, h, w, n, d) of given symbols; -1 where there are none."""
    means, scales = np.full_like(symbols, -1), np.full_like(symbols, -1)
    walk = code.walk(level_map, quality, area)
    for level in range(int(level_map.max())):

        def tell(t: int, y: Ints, x: Ints, mean: Ints, scale: Ints, level: int = level) -> Ints:
            means[t, y, x, level], scales[t, y, x, level] = mean, scale
            return symbols[t, y, x, level]

        walk.level(level, tell)
    return means, scales


def trained_form(code: SymbolCode) -> ContextNetwork:
    """Return the float network whose weights are the integer one's."""
    network = ContextNetwork(LEVELS, CHANNELS, code.model.width)
    network.load_state_dict(code.model.float_state())
    return network


def drawn(shape: tuple[int, int, int], seed: int, spread: float = 2.0) -> tuple[Ints, Ints]:
    """Return symbols (t, h, w, n, d), zero above a patch's count, and a level map."""
    rng = np.random.default_rng(seed)
    level_map = rng.integers(1, LEVELS + 1, shape)
    level_map.flat[0] = LEVELS
    symbols = np.rint(rng.laplace(0, spread, (*shape, LEVELS, CHANNELS))).astype(np.int64)
    return symbols * (np.arange(LEVELS) < level_map[..., None])[..., None], level_map


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 4, 3), (2, 1, 7)])
def test_integers_are_the_trained_network_within_their_rounding(
    shape: tuple[int, int, int], seed: int
) -> None:
    code = symbol_code(LEVELS, CHANNELS, seed)
    symbols, level_map = drawn(shape, seed)
    means, scales = walked(code, symbols, level_map)
    with torch.no_grad():
        mean, log_scale = trained_form(code)(
            torch.from_numpy(symbols).float().unsqueeze(0),
            torch.tensor([QUALITY]),
            torch.tensor([AREA]),
        )
    held = np.broadcast_to((np.arange(LEVELS) < level_map[..., None])[..., None], symbols.shape)
    index = ((log_scale[0].numpy() + 3.5) * 8)[held]
    assert np.abs(means / 8 - mean[0].numpy())[held].max() < 1 / 8
    assert np.abs(scales[held] - index).max() < 1
    assert len(np.unique(scales[held])) > 10
    assert scales[held].max() < NUM_SCALES


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("largest", [3, CLAMP + 40, 2**20])
def test_float64_evaluates_the_integers_exactly(seed: int, largest: int) -> None:
    """Against Python's integers, in another order: there is no rounding to differ."""
    code = symbol_code(LEVELS, CHANNELS, seed)
    symbols, level_map = drawn((2, 3, 4), seed, largest / 4)
    symbols = symbols.clip(-largest, largest)
    found = walked(code, symbols, level_map)
    expected = exact_predictions(code.model, symbols, level_map, QUALITY, AREA)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def test_activations_stop_at_their_largest() -> None:
    """Large weights drive them there, in hidden layers and in the state."""
    code = symbol_code(LEVELS, CHANNELS, 0, spread=4.0)
    symbols, level_map = drawn((2, 3, 4), 0, 20.0)
    found = walked(code, symbols, level_map)
    expected = exact_predictions(code.model, symbols, level_map, QUALITY, AREA)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def test_a_wide_picture_s_state_is_made_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    code = symbol_code(LEVELS, CHANNELS, 2)
    symbols, level_map = drawn((1, 9, 5), 2)
    whole = walked(code, symbols, level_map)
    for patches in (1, 5, 11, 20):
        monkeypatch.setattr("dcs_tok.compression.integer_context._ROWS_AT_ONCE", patches)
        for one, other in zip(whole, walked(code, symbols, level_map), strict=True):
            assert np.array_equal(one, other)


def test_magnitudes_round_alike_on_every_machine() -> None:
    """Far from where the last bit of a logarithm would decide."""
    exact = np.log2(1 + np.arange(CLAMP + 1)) * 256
    assert np.abs(exact - _MAGNITUDES).max() <= 0.5
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-6
    assert _MAGNITUDES[[0, 1, 3, 7, 127]].tolist() == [0, 256, 512, 768, 7 * 256]


def test_passes_see_what_earlier_ones_decoded() -> None:
    """The drawing in the module: 1 3 / 4 2; diagonals, then direct neighbours, then all."""
    from dcs_tok.compression.context_network import neighbours_seen

    around = {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)} - {(0, 0)}
    direct = {offset for offset in around if 0 in offset}
    assert [set(neighbours_seen(number)) for number in range(4)] == [
        set(),
        around - direct,
        direct,
        around,
    ]
    assert sorted(PASSES) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_weights_are_within_half_a_unit_of_what_was_trained() -> None:
    code = symbol_code(LEVELS, CHANNELS, 1)
    for name, tensor in code.model.tensors.items():
        if name.startswith("levels."):
            unit = Fraction(1, 2 ** (20 if tensor.ndim == 1 else 12))
            assert tensor.dtype == (np.int32 if tensor.ndim == 1 else np.int16)
            value = code.model.float_state()[name].double().numpy()
            assert np.array_equal(np.rint(value / float(unit)), tensor)
