"""Nearest training pictures: copies are found, and nothing is called a copy that is none."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from dcs_eval import Nearest
from dcs_eval.nearest import nearest_by_features, nearest_by_pixels, shrink
from dcs_eval.nearest_sheet import TILE, nearest_sheet
from dcs_eval.standardisation import Standardisation

from .conftest import photograph
from .errors import error


@given(st.integers(0, 2**31), st.integers(1, 300), st.integers(1, 20))
def test_nearest_by_features_are_those_of_a_plain_search(seed: int, rows: int, many: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 6, generator=generator)
    training = torch.randn(many, 6, generator=generator)
    scaling = Standardisation.of(torch.randn(9, 6, generator=generator))
    found = nearest_by_features(features, training, scaling)
    every = 1 - cosine_similarity(scaling(features)[:, None], scaling(training)[None], dim=-1)
    assert found.distances == pytest.approx(every.min(1).values.tolist(), abs=1e-9)
    chosen = every[torch.arange(rows), list(found.indices)]
    assert torch.allclose(chosen, every.min(1).values, atol=1e-9)


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_nearest_by_pixels_are_those_of_a_plain_search(seed: int, many: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(7, 3, 32, 32, generator=generator)
    training = torch.rand(many, 3, 32, 32, generator=generator)
    found = nearest_by_pixels(small, training)
    every = (small[:, None] - training[None]).double().square().mean((2, 3, 4)).sqrt()
    assert found.distances == pytest.approx(every.min(1).values.tolist(), rel=1e-6)
    assert found.indices == tuple(every.argmin(1).tolist())


def test_copies_are_at_distance_zero_exactly() -> None:
    training = torch.rand(40, 3, 32, 32)
    found = nearest_by_pixels(training[[3, 17]], training)
    assert found == Nearest(indices=(3, 17), distances=(0.0, 0.0))
    features = torch.randn(40, 5)
    found = nearest_by_features(features[[3, 17]], features, Standardisation.of(features))
    assert found == Nearest(indices=(3, 17), distances=(0.0, 0.0))


def test_bland_features_are_not_near_to_everything() -> None:
    """Halving the deviations from the mean leaves the angles, and so the distances."""
    training = torch.randn(50, 4, dtype=torch.float64)
    scaling = Standardisation.of(training)
    features = torch.randn(9, 4, dtype=torch.float64)
    bland = scaling.mean + (features - scaling.mean) / 2
    found = nearest_by_features(bland, training, scaling)
    assert found.distances == pytest.approx(
        nearest_by_features(features, training, scaling).distances
    )


def test_near_is_a_twentieth_of_what_was_held_out() -> None:
    held_out = Nearest(indices=(0,) * 100, distances=tuple(range(100)))
    assert held_out.near(held_out) == pytest.approx(0.05)
    assert held_out.median == 49.5
    copies = Nearest(indices=(0,) * 4, distances=(0.0, 1.0, 50.0, 99.0))
    assert copies.near(held_out) == 0.5


def test_pictures_shrink_to_one_size() -> None:
    assert shrink(photograph(0, 61, 83)).shape == (1, 3, 32, 32)
    grey = torch.full((2, 3, 8, 9), 0.25)
    assert torch.allclose(shrink(grey), torch.full((2, 3, 32, 32), 0.25))


def test_the_sheet_of_nearest_pictures_shows_triples_side_by_side() -> None:
    red, green, blue = (torch.zeros(1, 3, 8, 8) for _ in range(3))
    red[:, 0], green[:, 1], blue[:, 2] = 1, 1, 1
    sheet = nearest_sheet([(red, green, blue)] * 4, columns=3)
    width, height = sheet.size
    assert (width, height) == (3 * (3 * TILE + 16), 18 + 2 * (TILE + 4))
    middle = 18 + TILE // 2
    seen = [sheet.getpixel((place * (TILE + 4) + TILE // 2, middle)) for place in range(3)]
    assert seen == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert sheet.getpixel((width - 20, height - 20)) == (255, 255, 255)
    with error("`triples` must hold at least one sample, but is empty."):
        nearest_sheet([])
