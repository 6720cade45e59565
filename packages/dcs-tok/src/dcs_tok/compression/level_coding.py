"""The symbols of a picture or clip, level by level, pass by pass.

One walk serves both directions: the walk predicts, and a *chooser* says what the symbols are. The
encoder's quantises and writes; the decoder's reads.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dcs_tok.compression.context_network import PASSES
from dcs_tok.compression.entropy_model import EntropyModel
from dcs_tok.compression.integer_context import LevelNetwork
from dcs_tok.compression.quantiser import MAX_SYMBOL
from dcs_tok.compression.symbol_coder import DamagedDataError, SymbolDecoder, SymbolEncoder, Tables

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SEGMENTS_PER_GROUP = 6
"""Segments of a clip whose symbols of one level make a chunk: a second at six a second."""

Chooser = Callable[[int, Ints, Ints, Ints, Ints], Ints]
"""(segment, rows, columns, mean, scale) to the symbols (patches, d)."""


class Walk:
    """State of coding: goes through the levels in order.

    Args:
        networks: of each level.
        initial_state: (width,).
        level_map: (t, h, w).
        channels: d.
    """

    def __init__(
        self, networks: list[LevelNetwork], initial_state: Ints, level_map: Ints, channels: int
    ) -> None:
        self._networks = networks
        self._level_map = level_map
        self._channels = channels
        shape = (*level_map.shape, len(initial_state))
        self._state = np.broadcast_to(initial_state.astype(np.float64), shape)

    def level(self, index: int, choose: Chooser, segments: int | None = None) -> Ints:
        """Walk through level ``index`` (from 0) of the first segments, all by default.

        Returns:
            Symbols (t, h, w, d), zero where there are none.
        """
        network = self._networks[index]
        t, h, w = self._level_map.shape
        padded = np.zeros((t, h + 2, w + 2, self._channels), dtype=np.int64)
        for segment in range(t if segments is None else segments):
            held = self._level_map[segment] > index
            before = padded[segment - 1, 1:-1, 1:-1] if segment else None
            for number, (row, column) in enumerate(PASSES):
                rows, columns = np.nonzero(held[row::2, column::2])
                if len(rows):
                    rows, columns = 2 * rows + row, 2 * columns + column
                    mean, scale = network.predict(
                        number, rows, columns, self._state[segment], padded[segment], before
                    )
                    chosen = choose(segment, rows, columns, mean, scale)
                    padded[segment, rows + 1, columns + 1] = chosen
        if index + 1 < int(self._level_map.max()):
            self._state = np.stack(
                [network.next_state(self._state[i], padded[i]) for i in range(t)]
            )
        return padded[:, 1:-1, 1:-1]


class SymbolCode:
    """Codes symbols under an entropy model.

    Attributes:
        model: the entropy model.
        tables: its probabilities, in the forms that coding reads.
    """

    def __init__(self, model: EntropyModel) -> None:
        self.model = model
        self.tables = Tables(model.tensors["tables"])
        self._networks = model.level_networks()

    def walk(self, level_map: Ints, quality: int, area: int) -> Walk:
        """Start at level 1."""
        state = self.model.tensors["initial_state"][quality, area].astype(np.int64)
        channels = self.model.tensors["still_steps"].shape[1]
        return Walk(self._networks, state, level_map, channels)

    def encode(
        self, scaled: Floats, level_map: Ints, quality: int, area: int, kappa: float
    ) -> Iterator[tuple[list[bytes], Ints]]:
        """Yield the chunks of all groups of segments, and the symbols (t, h, w, d), of each level.

        A chunk without a symbol beside 0 is empty.

        Args:
            scaled: latents in steps (t, h, w, n, d).
            level_map: (t, h, w).
            quality, area: conditions of the context network.
            kappa: squared error in steps that a bit is worth; 0 rounds to the nearest.
        """
        walk = self.walk(level_map, quality, area)
        for index in range(int(level_map.max())):
            encoders = [SymbolEncoder(self.tables) for _ in range(_groups(len(level_map)))]
            choose = Quantiser(scaled[..., index, :], kappa, self.tables, *encoders)
            symbols = walk.level(index, choose)
            chunks = []
            for group, encoder in enumerate(encoders):
                first = group * SEGMENTS_PER_GROUP
                is_empty = not symbols[first : first + SEGMENTS_PER_GROUP].any()
                chunks.append(b"" if is_empty else encoder.chunk())
            yield chunks, symbols

    def decode(
        self, chunks: Sequence[bytes], level_map: Ints, quality: int, area: int
    ) -> tuple[Ints, Ints]:
        """Return symbols (t, h, w, m, d) and level map (t, h, w) of the chunks there are.

        Args:
            chunks: of all groups of level 1, then of level 2, ...; there may be fewer than the
                level map asks for.
            level_map, quality, area: as they were encoded.

        Raises:
            DamagedDataError: if a chunk cannot have been written.
        """
        walk, t = self.walk(level_map, quality, area), len(level_map)
        groups, levels, held = _groups(t), [], np.zeros_like(level_map)
        for index, first in enumerate(range(0, len(chunks), groups)):
            part = chunks[first : first + groups]
            segments = min(t, len(part) * SEGMENTS_PER_GROUP)
            levels.append(walk.level(index, _Reading(part, self.tables), segments))
            held[:segments] = np.minimum(level_map[:segments], index + 1)
        return np.stack(levels, axis=3), held


def _groups(segments: int) -> int:
    return -(-segments // SEGMENTS_PER_GROUP)


class _Reading:
    """Reads symbols from the chunk of their group."""

    def __init__(self, chunks: Sequence[bytes], tables: Tables) -> None:
        self._decoders = [SymbolDecoder(tables, chunk) if chunk else None for chunk in chunks]

    def __call__(self, segment: int, rows: Ints, columns: Ints, mean: Ints, scale: Ints) -> Ints:
        """Read; an empty chunk is all zeros."""
        decoder = self._decoders[segment // SEGMENTS_PER_GROUP]
        if decoder is None:
            return np.zeros_like(mean)
        symbols = decoder.code(mean, scale)
        if np.abs(symbols).max() > MAX_SYMBOL:
            raise DamagedDataError(f"a symbol beyond {MAX_SYMBOL}")
        return symbols


class SymbolWriter(Protocol):
    """What takes the symbols of a pass."""

    def code(self, mean: Ints, scale: Ints, symbols: Ints) -> Ints:
        """Take symbols, each under its distribution; return them."""
        ...


class Quantiser:
    """Chooses, of the symbols next to a latent, the one that is cheapest in error and bits.

    Args:
        scaled: latents of one level, in steps (t, h, w, d).
        kappa: squared error that a bit is worth.
        tables: what bits are counted by.
        writers: one for each group of segments, or one for all.
    """

    def __init__(
        self, scaled: Floats, kappa: float, tables: Tables, *writers: SymbolWriter
    ) -> None:
        self._scaled, self._kappa = scaled, kappa
        self._tables, self._writers = tables, writers

    def __call__(self, segment: int, rows: Ints, columns: Ints, mean: Ints, scale: Ints) -> Ints:
        """Choose and write."""
        wanted = np.clip(self._scaled[segment, rows, columns], -MAX_SYMBOL, MAX_SYMBOL)
        best = np.rint(wanted).astype(np.int64)
        if self._kappa:
            best = self._optimised(wanted, best, mean, scale)
        writer = self._writers[min(segment // SEGMENTS_PER_GROUP, len(self._writers) - 1)]
        return writer.code(mean, scale, best)

    def _optimised(self, wanted: Floats, nearest: Ints, mean: Ints, scale: Ints) -> Ints:
        # Most latents round to 0, and nothing is cheaper than that.
        undecided = np.abs(wanted) > 0.5
        chosen = np.zeros_like(nearest)
        wanted, nearest = wanted[undecided], nearest[undecided]
        mean, scale = mean[undecided], scale[undecided]
        best, least = nearest, self._cost(wanted, nearest, mean, scale)
        for candidate in (nearest - np.sign(nearest), np.zeros_like(nearest)):
            cost = self._cost(wanted, candidate, mean, scale)
            best = np.where(cost < least, candidate, best)
            least = np.minimum(cost, least)
        chosen[undecided] = best
        return chosen

    def _cost(self, wanted: Floats, symbols: Ints, mean: Ints, scale: Ints) -> Floats:
        return (wanted - symbols) ** 2 + self._kappa * self._tables.bits(mean, scale, symbols)
