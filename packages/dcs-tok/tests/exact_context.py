"""The context network again, in Python's integers and plain loops: what files depend on."""

from typing import Any

import numpy as np

from dcs_tok.compression.entropy_model import EntropyModel

from .small_codec import Ints

_PASS = {(0, 0): 0, (1, 1): 1, (0, 1): 2, (1, 0): 3}
_MAGNITUDE = [int(np.floor(np.log2(1 + i) * 256 + 0.5)) for i in range(128)]
Weights = dict[str, Any]


def exact_predictions(
    model: EntropyModel, symbols: Ints, level_map: Ints, quality: int, area: int
) -> tuple[Ints, Ints]:
    """Return means and scale indices (t, h, w, n, d); -1 where a patch has no such level."""
    t, h, w, n, d = symbols.shape
    means, scales = np.full_like(symbols, -1), np.full_like(symbols, -1)
    for s in range(t):
        first = model.tensors["initial_state"][quality, area].tolist()
        state = {(y, x): first for y in range(h) for x in range(w)}
        for level in range(n):
            weights = {
                name.removeprefix(f"levels.{level}."): tensor.tolist()
                for name, tensor in model.tensors.items()
                if name.startswith(f"levels.{level}.")
            }
            known = {(y, x): symbols[s, y, x, level].tolist() for y in range(h) for x in range(w)}
            earlier = symbols[s - 1, :, :, level].tolist() if s else None
            for (y, x), own in state.items():
                if level_map[s, y, x] > level:
                    before = None if earlier is None else earlier[y][x]
                    found = _prediction(weights, own, known, before, y, x, d)
                    means[s, y, x, level], scales[s, y, x, level] = found
            if level + 1 < n:
                state = {place: _next(weights, state, known, *place) for place in state}
    return means, scales


def _features(symbols: list[int]) -> list[int]:
    magnitudes = [_MAGNITUDE[min(abs(q), 127)] for q in symbols]
    signed = [m if q > 0 else -m for m, q in zip(magnitudes, symbols, strict=True)]
    return signed + magnitudes


def _dot(one: list[int], other: list[int]) -> int:
    return sum(a * b for a, b in reversed(list(zip(one, other, strict=True))))


def _layer(totals: list[int]) -> list[int]:
    return [min(max(total >> 12, 0), 2**15 - 1) for total in totals]


def _prediction(
    weights: Weights,
    state: list[int],
    known: dict[tuple[int, int], list[int]],
    before: list[int] | None,
    y: int,
    x: int,
    d: int,
) -> tuple[list[int], list[int]]:
    number = _PASS[y % 2, x % 2]
    totals, mean = [value << 12 for value in state], [0] * d
    if number == 0:
        totals = [a + b for a, b in zip(totals, weights["first_pass"], strict=True)]
    else:
        wide, bias = (weights[f"around.{number - 1}.conv.{part}"] for part in ("weight", "bias"))
        linear = weights[f"around_mean.{number - 1}.conv.weight"]
        totals = [a + b for a, b in zip(totals, bias, strict=True)]
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                here = known.get((y + dy, x + dx))
                if here is None or _PASS[(y + dy) % 2, (x + dx) % 2] >= number:
                    continue
                for out in range(len(totals)):
                    taps = [row[dy + 1][dx + 1] for row in wide[out]]
                    totals[out] += _dot(taps, _features(here))
                for out in range(d):
                    mean[out] += _dot([row[dy + 1][dx + 1] for row in linear[out]], here)
    if before is not None:
        for out in range(len(totals)):
            taps = [row[0][0] for row in weights["before.weight"][out]]
            totals[out] += _dot(taps, _features(before))
        for out in range(d):
            mean[out] += _dot([row[0][0] for row in weights["before_mean.weight"][out]], before)
    hidden = _layer(_dense(weights, "hidden", _layer(totals)))
    out = _dense(weights, "out", hidden)
    eighths = [(a + (b << 8) + 2**16) >> 17 for a, b in zip(out[:d], mean, strict=True)]
    lowest = -7 * 2**19  # -3.5 in 20 bits
    indices = [min(max((value - lowest + 2**16) >> 17, 0), 76) for value in out[d:]]
    return eighths, indices


def _dense(weights: Weights, name: str, values: list[int]) -> list[int]:
    rows = [[column[0][0] for column in row] for row in weights[f"{name}.weight"]]
    return [_dot(row, values) + b for row, b in zip(rows, weights[f"{name}.bias"], strict=True)]


def _next(weights: Weights, state: dict, known: dict, y: int, x: int) -> list[int]:
    totals = list(weights["next_state.bias"])
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            place = (y + dy, x + dx)
            if place in state:
                values = _features(known[place]) + state[place]
                for out, row in enumerate(weights["next_state.weight"]):
                    totals[out] += _dot([tap[dy + 1][dx + 1] for tap in row], values)
    return _layer(totals)
