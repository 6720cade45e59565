"""Clean tokens beside noised ones, and a model of one level: full attention."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcs_common.config import config_to_dict
from dcs_common.pretrained import fingerprint, read_config, read_weights
from dcs_dit import DCSDiT
from dcs_dit.model import WEIGHTS
from dcs_dit.reference import padded_velocity

from .labelled_files import error
from .small_dit import (
    CHANNELS,
    CLOSE,
    LEVELS,
    PICTURE,
    changed,
    fresh,
    inputs,
    lively,
    randn,
    small_config,
)

COUNTS = [4, 2, 3]


@lru_cache
def residual() -> DCSDiT:
    """A generator of residuals that tests share and leave as it is."""
    config = small_config(latent_form="msf-residual", condition_channels=CHANNELS)
    return lively(fresh(config)).double().eval()


def velocity(dit: DCSDiT, clean: Tensor | None) -> Tensor:
    drawn = inputs(COUNTS)
    return dit(drawn.noised, drawn.time, drawn.levels, drawn.labels, clean=clean)


CLEAN = randn(len(COUNTS), *PICTURE, LEVELS, CHANNELS, seed=7)


def test_a_dense_mask_says_the_same() -> None:
    drawn = inputs(COUNTS)
    arguments = (drawn.noised, drawn.time, drawn.levels, drawn.labels)
    expected = padded_velocity(residual(), *arguments, clean=CLEAN)
    torch.testing.assert_close(velocity(residual(), CLEAN), expected, **CLOSE)


@pytest.mark.parametrize("level", range(LEVELS))
def test_clean_tokens_are_seen_by_their_level_and_those_above(level: int) -> None:
    before = velocity(residual(), CLEAN)
    after = velocity(residual(), changed(CLEAN, ..., level, slice(None)))
    counts = torch.tensor(COUNTS).view(-1, 1, 1, 1, 1)
    place = torch.arange(LEVELS)
    may_change = (place >= level) & (place < counts) & (level < counts)
    assert torch.equal((after != before).any(dim=-1), may_change.expand(before.shape[:-1]))


def test_every_clean_channel_counts() -> None:
    before = velocity(residual(), CLEAN)
    for channel in range(CHANNELS):
        after = velocity(residual(), changed(CLEAN, ..., channel))
        assert (after != before)[..., 0, :].any(dim=-1).all()


@pytest.mark.parametrize(
    ("clean", "found"), [(None, 0), (CLEAN[..., 1:], CHANNELS - 1)], ids=["none", "too few"]
)
def test_a_residual_is_nothing_without_its_base(clean: Tensor | None, found: int) -> None:
    with error(
        f"Clean tokens of 5 channels must stand beside the noised ones, but have {found}. Give "
        "this model's own condition."
    ):
        velocity(residual(), clean)


def test_a_base_for_nothing() -> None:
    with error(
        "Clean tokens of 0 channels must stand beside the noised ones, but have 5. Give this "
        "model's own condition."
    ):
        velocity(fresh().double(), CLEAN)


def test_statistics_of_the_base_are_the_model_s(tmp_path: Path) -> None:
    dit = fresh(residual().config)
    dit.condition_mean.copy_(randn(LEVELS, CHANNELS))
    dit.condition_std.copy_(randn(LEVELS, CHANNELS, seed=1).exp())
    dit.save_pretrained(tmp_path / "model")
    loaded = DCSDiT.from_pretrained(tmp_path / "model")
    assert loaded.config == dit.config
    normal = loaded.normalise_condition(CLEAN[..., :2, :].float())
    expected = (CLEAN[..., :2, :] - dit.condition_mean[:2]) / dit.condition_std[:2]
    torch.testing.assert_close(normal, expected.float())


def test_models_from_before_are_what_they_were() -> None:
    """Neither what is stored of them nor their fingerprints know of what came later."""
    folder = WEIGHTS / "dcs-dit-nano"
    dit, stored = DCSDiT.from_pretrained(folder), read_config(folder, "dcs-dit")
    assert (dit.config.latent_form, dit.config.condition_channels) == ("plain", 0)
    assert config_to_dict(dit.config) == stored
    assert not stored.keys() & {"latent_form", "condition_channels"}
    assert dit.fingerprint == fingerprint(stored, read_weights(folder))


# ---------------------------------------------------------------------- one level


@pytest.mark.parametrize("row", range(PICTURE[1]))
@pytest.mark.parametrize("column", [0, 2, PICTURE[2] - 1])
def test_with_one_level_every_token_sees_every_other(row: int, column: int) -> None:
    """Vanilla latent diffusion: no order among tokens, so that attention is full."""
    dit = lively(fresh(small_config(num_levels=1))).double().eval()
    drawn = replace(inputs([1, 1]), noised=randn(2, *PICTURE, 1, CHANNELS))
    before = drawn.velocity(dit)
    other = changed(drawn.noised, 0, 0, row, column)
    after = replace(drawn, noised=other).velocity(dit)
    assert (after != before)[0].any(dim=-1).all()
    assert torch.equal(after[1], before[1])
