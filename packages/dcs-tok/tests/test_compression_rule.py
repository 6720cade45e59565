"""The rule that rate control starts from, and the PSNR that it measures."""

from collections.abc import Callable

import pytest
import torch

from dcs_tok.compression.rate_control import (
    eight_bit_psnr,
    quality_of_bpp,
    quality_of_psnr,
    side_of_quality,
)


@pytest.mark.parametrize("rule", [quality_of_bpp, quality_of_psnr])
def test_first_guesses_are_qualities_that_grow(rule: Callable[[float], int]) -> None:
    guesses = [rule(x) for x in (1e-9, 0.003, 0.1, 1.0, 8.0, 19.0, 30.0, 45.0, 1e9)]
    assert guesses == sorted(guesses)
    assert (guesses[0], guesses[-1]) == (0, 100)


def test_better_files_have_smaller_patches() -> None:
    sides = [side_of_quality(quality) for quality in range(101)]
    assert sides == sorted(sides, reverse=True)
    assert (sides[0], sides[-1]) == (pytest.approx(64), pytest.approx(4))


def test_the_psnr_is_that_of_8_bits() -> None:
    source = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    assert eight_bit_psnr((source * 255).round() / 255 + 0.4 / 255, (source * 255).round() / 255)
    exact = (source * 255).round() / 255
    assert eight_bit_psnr(exact + 0.4 / 255, exact) == float("inf")
    assert eight_bit_psnr(exact + 0.6 / 255, exact) == pytest.approx(48.1308, abs=1e-3)
    clip = exact.unsqueeze(2).expand(1, 3, 2, 4, 5)
    assert eight_bit_psnr(clip + 0.6 / 255, clip) == pytest.approx(48.1308, abs=1e-3)
