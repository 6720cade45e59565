"""Tables fitted to what files hold make them smaller, and stay tables."""

import numpy as np
import pytest
import torch

from dcs_common.latents import Latents
from dcs_tok.compression.entropy_model import EntropyModel
from dcs_tok.compression.fit_tables import PRIOR_SYMBOLS, fit_tables
from dcs_tok.compression.level_coding import SymbolCode
from dcs_tok.compression.probability_tables import laplace_tables
from dcs_tok.compression.quantiser import area_class

from .small_codec import small_codec, small_tok, waves

KAPPA, QUALITY = 0.08, 45


def latents(seed: int, levels: int | None = None) -> Latents:
    return small_tok().encode(waves(40, 56, seed=seed), levels=levels, patches=10)


def size(model: EntropyModel, found: Latents) -> int:
    """Return the bytes of all chunks."""
    scaled = (found.tokens / model.steps(found, 2, QUALITY))[0].double().numpy()
    area = area_class(found.size, found.grid)
    level_map = found.levels[0].numpy()
    coded = SymbolCode(model).encode(scaled, level_map, QUALITY, area, KAPPA)
    return sum(len(chunk) for chunks, _ in coded for chunk in chunks)


def fitted(count: int) -> EntropyModel:
    return fit_tables(
        small_codec().model, [(latents(seed), QUALITY) for seed in range(count)], 2, KAPPA
    )


def test_files_of_other_pictures_become_smaller() -> None:
    model, other = small_codec().model, latents(9)
    assert size(fitted(4), other) < 0.98 * size(model, other)


def test_fitted_tables_are_tables() -> None:
    model = fitted(1)
    tables = model.tensors["tables"]
    assert (tables.shape, tables.dtype) == (laplace_tables().shape, np.int32)
    assert (tables.sum(axis=-1, dtype=np.int64) == 2**24).all()
    assert tables.min() >= 1
    assert model.fingerprint != small_codec().model.fingerprint
    others = {name for name in model.tensors if name != "tables"}
    known = small_codec().model.tensors
    assert all(np.array_equal(model.tensors[name], known[name]) for name in others)


def test_rows_without_symbols_stay_as_they_were() -> None:
    """Up to the rounding of making integers anew."""
    before, after = (model.tensors["tables"] for model in (small_codec().model, fitted(1)))
    moved = np.abs(after.astype(np.int64) - before).max(axis=-1)
    assert 0 < (moved > 2 * before.shape[-1]).sum() < moved.size / 2


def test_every_symbol_that_is_held_counts_once() -> None:
    """A row's share moves from the prior towards what was counted: here, zeros alone."""
    model = small_codec().model
    nothing = latents(0, levels=1)
    nothing = Latents(
        tokens=torch.zeros_like(nothing.tokens), size=nothing.size, tokenizer=nothing.tokenizer
    )
    tables = fit_tables(model, [(nothing, QUALITY)], 2, KAPPA).tensors["tables"]
    before = model.tensors["tables"] / 2**24
    changed = np.abs(tables / 2**24 - before).max(axis=-1) > 1e-5
    # share = (prior * p + counted) / (prior + counted), for the cell of each row's zeros
    gained = (tables / 2**24 - before)[changed].max(axis=-1)
    p = before[changed][np.arange(len(gained)), (tables / 2**24 - before)[changed].argmax(axis=-1)]
    counted = PRIOR_SYMBOLS * gained / (1 - p - gained)
    assert counted.sum() == pytest.approx(np.prod(nothing.grid) * 16, rel=0.01)
