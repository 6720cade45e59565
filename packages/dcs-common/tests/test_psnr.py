"""PSNR against values known by hand."""

import re
from math import inf, log10

import pytest
import torch

from dcs_common.psnr import psnr


@pytest.mark.parametrize(("error", "decibels"), [(0.1, 20), (0.01, 40), (1.0, 0)])
def test_a_constant_error_has_the_decibels_of_its_square(error: float, decibels: float) -> None:
    black = torch.zeros(2, 3, 5, 7, dtype=torch.float64)
    assert psnr(black, black + error) == pytest.approx(decibels, abs=1e-9)
    assert psnr(black + error, black) == pytest.approx(decibels, abs=1e-9)


def test_the_mean_is_taken_over_everything() -> None:
    """One wrong value among 42, not the mean of two pictures' decibels."""
    first = torch.zeros(2, 3, 7)
    second = first.clone()
    second[1, 2, 6] = 0.5
    assert psnr(first, second) == pytest.approx(10 * log10(42 / 0.25))


def test_equal_pictures_are_infinitely_close() -> None:
    picture = torch.rand(3, 5, 7)
    assert psnr(picture, picture.clone()) == inf


def test_small_errors_of_half_precision_are_not_lost() -> None:
    """Squared in float16, 2^-13 would vanish."""
    black = torch.zeros(3, 5, 7, dtype=torch.float16)
    assert psnr(black, black + 2.0**-13) == pytest.approx(260 * log10(2))


def test_shapes_must_agree() -> None:
    message = (
        "Both pictures must have one shape, but have (3, 5, 7) and (1, 5, 7). Resize one of them."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        psnr(torch.zeros(3, 5, 7), torch.zeros(1, 5, 7))
