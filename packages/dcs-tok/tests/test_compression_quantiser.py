"""Steps are those of the quality, and symbols the best of what is near."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.latents import Latents
from dcs_tok.compression.level_coding import Quantiser
from dcs_tok.compression.probability_tables import NUM_SCALES, laplace_tables
from dcs_tok.compression.quantiser import (
    MAX_SYMBOL,
    area_class,
    quantise,
    segment_steps,
    step_of_quality,
    unit_steps,
)
from dcs_tok.compression.symbol_coder import SymbolEncoder, Tables

from .errors import error
from .small_codec import small_codec, small_tok, tok_with_networks
from .tiny_models import CONFIGS, fresh

TABLES = Tables(laplace_tables())


def chosen(wanted: np.ndarray, mean: np.ndarray, scale: np.ndarray, kappa: float) -> np.ndarray:
    """Return the symbols of one pass over patches in a row."""
    quantiser = Quantiser(wanted[None, None], kappa, TABLES, SymbolEncoder(TABLES))
    columns = np.arange(len(wanted))
    return quantiser(0, np.zeros_like(columns), columns, mean, scale)


def cost(wanted: np.ndarray, symbols: np.ndarray, mean: np.ndarray, scale: np.ndarray, kappa):
    return (wanted - symbols) ** 2 + kappa * TABLES.bits(mean, scale, symbols)


@given(seed=st.integers(0, 10**6), spread=st.sampled_from((0.3, 2.0, 50.0, 1e5)))
def test_without_a_price_the_error_is_at_most_half_a_step(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.laplace(0, spread, (11, 5)).clip(-MAX_SYMBOL, MAX_SYMBOL)
    mean, scale = rng.integers(-40, 40, (11, 5)), rng.integers(0, NUM_SCALES, (11, 5))
    assert np.abs(chosen(wanted, mean, scale, 0) - wanted).max() <= 0.5


@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from((0.3, 2.0, 50.0)),
    kappa=st.sampled_from((0.01, 0.08, 0.5, 5.0)),
)
def test_no_choice_costs_more_than_the_nearest_or_the_next_towards_zero(
    seed: int, spread: float, kappa: float
) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.laplace(0, spread, (11, 5))
    mean, scale = rng.integers(-40, 40, (11, 5)), rng.integers(0, NUM_SCALES, (11, 5))
    best = chosen(wanted, mean, scale, kappa)
    paid = cost(wanted, best, mean, scale, kappa)
    nearest = np.rint(wanted).astype(np.int64)
    undecided = nearest != 0
    for other in (nearest, nearest - np.sign(nearest), np.zeros_like(nearest)):
        assert (paid <= cost(wanted, other, mean, scale, kappa))[undecided].all()
    assert (best[~undecided] == 0).all()
    assert (np.abs(best) <= np.abs(nearest)).all()


def test_a_price_saves_bits() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.laplace(0, 1.0, (400, 5))
    mean, scale = np.zeros((400, 5), dtype=np.int64), np.full((400, 5), 26)
    bits = [TABLES.bits(mean, scale, chosen(wanted, mean, scale, k)).sum() for k in (0, 0.1, 1)]
    assert bits[0] > 1.03 * bits[1] > 1.03**2 * bits[2]


def test_twelve_qualities_halve_the_step() -> None:
    assert step_of_quality(0) == 4.0
    for quality in range(0, 89):
        assert step_of_quality(quality + 12) == pytest.approx(step_of_quality(quality) / 2)


@pytest.mark.parametrize("quality", [-1, 101, 3.0, True, None, "40"])
def test_other_qualities(quality: object) -> None:
    with error(
        f"`quality` must be an integer from 0 to 100, but is {quality!r}. "
        "Higher is better and larger."
    ):
        step_of_quality(quality)  # type: ignore[arg-type]


def test_a_step_of_a_latent_is_a_step_of_pixels() -> None:
    """A latent moved by one step moves the canonical patch by a length of 1."""
    path = tok_with_networks().linear_path
    for code, still in ((path.still, True), (path.moving, False)):
        steps = unit_steps(tok_with_networks(), still=still)
        moved = code.decode_weight * steps[..., None, None, None, None]
        torch.testing.assert_close(moved.flatten(2).norm(dim=2), torch.ones_like(steps))


def test_steps_are_those_of_the_segment_s_kind() -> None:
    """At 2 segments a second, 5 frames at 3 fps leave a segment of one frame among moving ones."""
    tok = tok_with_networks()
    tokens = torch.zeros(1, 4, 1, 1, 3, 7)
    latents = Latents(tokens=tokens, size=(4, 4), fps=3, frames=5)
    still, moving = (unit_steps(tok, still=kind)[:3] for kind in (True, False))
    steps = segment_steps(tok, latents)
    assert steps.shape == (4, 1, 1, 3, 7)
    kinds = [torch.equal(one[0, 0], still) for one in steps]
    assert [torch.equal(one[0, 0], moving) for one in steps] == [not kind for kind in kinds]
    assert len(set(kinds)) == 2


def test_dequantised_latents_are_symbols_times_their_step() -> None:
    """Of the nearest symbols, each latent comes back within half a step."""
    codec, tok = small_codec(), small_tok()
    tokens = torch.randn(1, 1, 3, 4, 3, 16, generator=torch.Generator().manual_seed(0))
    latents = Latents(tokens=tokens, size=(9, 9))
    steps = segment_steps(tok, latents) * step_of_quality(30)
    found = codec.code(latents, 30, kappa=0).latents
    assert ((found.tokens - tokens).abs() <= 0.50001 * steps).all()
    symbols = found.tokens / steps
    torch.testing.assert_close(symbols, symbols.round(), rtol=0, atol=1e-3)


def test_training_s_quantiser_has_a_zone_of_zeros() -> None:
    scaled = torch.tensor([-0.9, -0.63, -0.61, 0.5, 0.61, 0.63, 1.4, 1.6, -2.5, 3e9])
    expected = [-1, -1, 0, 0, 0, 1, 1, 2, -2, MAX_SYMBOL]
    assert quantise(scaled).tolist() == expected
    assert quantise(torch.tensor([0.7, 0.9]), torch.tensor([0.8, 0.8])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("size", "grid", "expected"),
    [
        ((8, 8), (1, 8, 8), 0),
        ((8, 9), (1, 8, 8), 0),
        ((16, 8), (1, 8, 8), 1),
        ((512, 768), (1, 32, 48), 8),
        ((511, 768), (9, 32, 48), 7),
        ((2**14, 2**14), (1, 1, 1), 15),
    ],
)
def test_the_area_class_is_the_logarithm_of_a_patch_s_pixels(
    size: tuple[int, int], grid: tuple[int, int, int], expected: int
) -> None:
    assert area_class(size, grid) == expected


def test_a_model_without_a_linear_path_has_no_steps() -> None:
    with error(
        "Compression needs a model with a linear path, whose components give the steps of the "
        "quantiser, but this one has none. Use dcs-tok-nano or a model of its kind."
    ):
        unit_steps(fresh(CONFIGS["paper"]()), still=True)
