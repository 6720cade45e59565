"""The context network in integers: the same means and scales on every machine.

Every number here is an integer held in float64. Products and sums of such integers are exact below
2^53, in any order, so that the library's fast matrix products cannot differ between machines, as
they do for fractions. Activations carry 8 fractional bits, weights 12; a layer ends with a division
by 2^12, rounded down.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcs_tok.compression.context_network import CLAMP, MIN_LOG_SCALE, PASSES, neighbours_seen
from dcs_tok.compression.probability_tables import FRACTIONS, NUM_SCALES, SCALES_PER_E

ACTIVATION_BITS, WEIGHT_BITS = 8, 12
BIAS_BITS = ACTIVATION_BITS + WEIGHT_BITS
MAX_ACTIVATION = 2**15 - 1
MAX_WEIGHT = 2**15 - 1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAGNITUDES = np.floor(np.log2(1 + np.arange(CLAMP + 1)) * 2**ACTIVATION_BITS + 0.5)
"""log2(1 + |q|). Rounded far from where two machines' logarithms could differ: see the tests."""
_ROWS_AT_ONCE = 2**15


def features(symbols: Ints) -> Floats:
    """Return (..., 2 d) of symbols (..., d): signed magnitudes, then magnitudes."""
    magnitude = _MAGNITUDES[np.minimum(np.abs(symbols), CLAMP)]
    return np.concatenate([np.sign(symbols) * magnitude, magnitude], axis=-1)


def _layer(total: Floats) -> Floats:
    """Divide, round down and keep what is positive."""
    return np.clip(np.floor(total * 2.0**-WEIGHT_BITS), 0, MAX_ACTIVATION)


@dataclass(frozen=True)
class PassWeights:
    """What a pass looks at.

    Attributes:
        offsets: (row, column) of neighbours.
        wide: (neighbours * 2 d, width), or None for the first pass.
        mean: (neighbours * d, d), likewise.
        bias: (width,).
    """

    offsets: tuple[tuple[int, int], ...]
    wide: Floats | None
    mean: Floats | None
    bias: Floats


class LevelNetwork:
    """One level of the context network.

    Args:
        tensors: integers by the names of the parameters of
            :class:`~dcs_tok.compression.context_network.LevelContext`.
    """

    def __init__(self, tensors: dict[str, NDArray[np.integer]]) -> None:
        ints = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
        self.passes = [PassWeights((), None, None, ints["first_pass"])]
        for number in range(1, len(PASSES)):
            offsets = neighbours_seen(number)
            name = f"around.{number - 1}.conv"
            self.passes.append(
                PassWeights(
                    offsets,
                    _taps(ints[f"{name}.weight"], offsets),
                    _taps(ints[f"around_mean.{number - 1}.conv.weight"], offsets),
                    ints[f"{name}.bias"],
                )
            )
        self.before = ints["before.weight"][:, :, 0, 0].T
        self.before_mean = ints["before_mean.weight"][:, :, 0, 0].T
        self.hidden = ints["hidden.weight"][:, :, 0, 0].T
        self.hidden_bias = ints["hidden.bias"]
        self.out = ints["out.weight"][:, :, 0, 0].T
        self.out_bias = ints["out.bias"]
        self.next_weight = self.next_bias = None
        if "next_state.weight" in ints:
            # (3, 3, in, width)
            self.next_weight = np.ascontiguousarray(ints["next_state.weight"].transpose(2, 3, 1, 0))
            self.next_bias = ints["next_state.bias"]

    def predict(
        self,
        number: int,
        rows: Ints,
        columns: Ints,
        state: Floats,
        padded: Ints,
        before: Ints | None,
    ) -> tuple[Ints, Ints]:
        """Return mean, in eighths of a step, and index of the scale: (patches, d) each.

        Args:
            number: of the pass, from 0.
            rows, columns: patches of the pass.
            state: (h, w, width).
            padded: (h + 2, w + 2, d) symbols of this level, those of earlier passes being known.
            before: (h, w, d) symbols of the segment before, or None.
        """
        weights = self.passes[number]
        total = state[rows, columns] * 2.0**WEIGHT_BITS + weights.bias
        mean: Floats | float = 0.0
        if weights.wide is not None and weights.mean is not None:
            seen = np.stack(
                [padded[rows + 1 + y, columns + 1 + x] for y, x in weights.offsets], axis=1
            )
            total += features(seen).reshape(len(rows), -1) @ weights.wide
            mean = seen.reshape(len(rows), -1).astype(np.float64) @ weights.mean
        if before is not None:
            known = before[rows, columns]
            total += features(known) @ self.before
            mean = mean + known.astype(np.float64) @ self.before_mean
        hidden = _layer(_layer(total) @ self.hidden + self.hidden_bias)
        out = hidden @ self.out + self.out_bias
        d = out.shape[1] // 2
        mean = out[:, :d] + mean * 2.0**ACTIVATION_BITS
        eighths = np.floor(mean * (FRACTIONS * 2.0**-BIAS_BITS) + 0.5)
        lowest = MIN_LOG_SCALE * 2.0**BIAS_BITS
        scale = np.floor((out[:, d:] - lowest) * (SCALES_PER_E * 2.0**-BIAS_BITS) + 0.5)
        return eighths.astype(np.int64), np.clip(scale, 0, NUM_SCALES - 1).astype(np.int64)

    def next_state(self, state: Floats, padded: Ints) -> Floats:
        """Return the next level's state (h, w, width); arguments as of :meth:`predict`."""
        assert self.next_weight is not None and self.next_bias is not None, "the last level"
        height, width = state.shape[:2]
        out = np.empty_like(state)
        rows = max(1, _ROWS_AT_ONCE // width)
        for start in range(0, height, rows):
            stop = min(height, start + rows)
            strip = np.zeros((stop - start + 2, width + 2, self.next_weight.shape[2]))
            strip[..., : 2 * padded.shape[2]] = features(padded[start : stop + 2])
            low, high = max(0, start - 1), min(height, stop + 1)
            inner = slice(low - start + 1, high - start + 1)
            strip[inner, 1:-1, 2 * padded.shape[2] :] = state[low:high]
            total = np.tile(self.next_bias, (stop - start, width, 1))
            for y in range(3):
                for x in range(3):
                    part = strip[y : y + stop - start, x : x + width]
                    total += part @ self.next_weight[y, x]
            out[start:stop] = _layer(total)
        return out


def _taps(weight: Floats, offsets: tuple[tuple[int, int], ...]) -> Floats:
    """Return (neighbours * in, out) of a kernel (out, in, 3, 3)."""
    return np.concatenate([weight[:, :, y + 1, x + 1].T for y, x in offsets])
