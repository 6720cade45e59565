"""Probability tables fitted to the symbols that files hold, in place of Laplace's.

Symbols are chosen for rate and distortion, so that there are more zeros than any smooth
distribution has. What is counted under a mean and scale corrects that, whatever the reason.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dcs_common.latents import Latents
from dcs_tok.compression.entropy_model import EntropyModel
from dcs_tok.compression.level_coding import Quantiser, SymbolCode
from dcs_tok.compression.probability_tables import PRECISION, whole_numbers
from dcs_tok.compression.quantiser import area_class
from dcs_tok.compression.symbol_coder import Ints, parts

PRIOR_SYMBOLS = 500.0
"""Symbols that the table which is there counts for."""


class _Counter:
    """Counts cells in place of writing them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.counts = np.zeros(shape)

    def code(self, mean: Ints, scale: Ints, symbols: Ints) -> Ints:
        row, cell, _, _ = parts(mean.ravel(), scale.ravel(), symbols.ravel())
        np.add.at(self.counts, (row, cell), 1)
        return symbols


def fit_tables(
    model: EntropyModel,
    samples: Iterable[tuple[Latents, int]],
    segments_per_second: int,
    kappa: float,
) -> EntropyModel:
    """Return the model with tables fitted to how samples are coded.

    Args:
        model: an entropy model.
        samples: latents of its tokenizer, each with a quality.
        segments_per_second: the tokenizer's.
        kappa: as of :meth:`SymbolCode.encode`.
    """
    code = SymbolCode(model)
    tables = model.tensors["tables"]
    counter = _Counter((tables.shape[0] * tables.shape[1], tables.shape[2]))
    for latents, quality in samples:
        steps = model.steps(latents, segments_per_second, quality)
        area = area_class(latents.size, latents.grid)
        for tokens, levels in zip(latents.tokens, latents.levels, strict=True):
            scaled = (tokens / steps).double().numpy()
            level_map = levels.numpy().astype(np.int64)
            walk = code.walk(level_map, quality, area)
            for index in range(int(level_map.max())):
                choose = Quantiser(scaled[..., index, :], kappa, code.tables, counter)
                walk.level(index, choose)
    prior: NDArray[np.float64] = tables.reshape(counter.counts.shape) * 2.0**-PRECISION
    fitted = whole_numbers(counter.counts + PRIOR_SYMBOLS * prior)
    return replace(model, tensors=model.tensors | {"tables": fitted.reshape(tables.shape)})
