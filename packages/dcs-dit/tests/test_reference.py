"""The plain model, padded and masked, is what the model is held against."""

import pytest
import torch

from dcs_dit.reference import padded_velocity

from .small_dit import CLIP, CLOSE, KINDS, PICTURE, inputs, model


@pytest.mark.parametrize("grid", [PICTURE, CLIP])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_model_is_the_padded_and_masked_one(kind: str, grid: tuple[int, int, int]) -> None:
    dit, given = model(kind), inputs([3, 1, 2, 3, 1], kind, grid)
    plain = padded_velocity(dit, given.noised, given.time, given.levels, given.labels, given.text)
    torch.testing.assert_close(given.velocity(dit), plain, **CLOSE)
    assert plain.abs().max() > 0.1
