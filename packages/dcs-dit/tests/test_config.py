"""A config refuses what no model can be, and survives its way through JSON."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.config import config_from_dict, config_to_dict
from dcs_dit import PRESETS, DCSDiT, DCSDiTConfig
from dcs_dit.config import dcs_dit_nano, dcs_dit_xl

from .labelled_files import error
from .small_dit import small_config

COUNTS = (
    *("width", "heads", "blocks", "num_levels", "latent_channels", "patch_pixels"),
    *("segments_per_second", "trained_levels", "text_width", "modulation_rank", "fps"),
)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -3])
def test_counts_are_at_least_1(name: str, value: int) -> None:
    with error(f"`{name}` must be at least 1, but is {value}."):
        small_config(**{name: value})


@pytest.mark.parametrize(("width", "heads"), [(31, 2), (34, 2), (32, 3)])
def test_heads_must_have_pairs_of_channels(width: int, heads: int) -> None:
    with error(
        "`width` must be a multiple of twice `heads`, since the rotary embedding turns pairs of "
        f"channels, but is {width} for {heads} heads."
    ):
        DCSDiTConfig(width=width, heads=heads, blocks=1)


@pytest.mark.parametrize("grid", [(1, 0, 3), (0, 3, 3), (3, 3), (1, 1, 3, 3)])
def test_grids_have_three_axes(grid: tuple[int, ...]) -> None:
    with error(
        f"`grid` must be (segments, rows, columns), each at least 1, but is {grid}. A picture has "
        "one segment."
    ):
        small_config(grid=grid)


def test_clips_have_a_frame_rate() -> None:
    with error(
        "`fps` must be given for a grid of 3 segments, but is None. Give the frame rate of the "
        "clips."
    ):
        small_config(grid=(3, 1, 5))
    assert small_config(grid=(3, 1, 5), fps=24).fps == 24


def test_labels_are_distinct() -> None:
    with error("`labels` must be distinct, but are ['owl', 'fox', 'owl']."):
        small_config(labels=("owl", "fox", "owl"))


@pytest.mark.parametrize("scale", [-0.5, float("inf"), float("nan")])
def test_guidance_is_a_finite_amount(scale: float) -> None:
    with error(f"`guidance_scale` must be 0 or more and finite, but is {scale}. 1 is no guidance."):
        small_config(guidance_scale=scale)


def test_a_config_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        small_config().width = 64  # type: ignore[misc]


@given(
    labels=st.lists(st.text(max_size=5), unique=True, max_size=4).map(tuple),
    grid=st.tuples(st.just(1), st.integers(1, 99), st.integers(1, 99)),
    scale=st.floats(0, 100),
    rank=st.none() | st.integers(1, 9),
    tokenizer=st.none() | st.text(max_size=5),
)
def test_a_config_survives_json(
    labels: tuple[str, ...],
    grid: tuple[int, int, int],
    scale: float,
    rank: int | None,
    tokenizer: str | None,
) -> None:
    config = small_config(
        labels=labels,
        grid=grid,
        guidance_scale=scale,
        modulation_rank=rank,
        tokenizer=tokenizer,
        trained_levels=rank,
    )
    text = json.dumps(config_to_dict(config))
    assert config_from_dict(DCSDiTConfig, json.loads(text)) == config


def test_the_paper_s_size_is_the_default() -> None:
    assert PRESETS["dcs-dit-xl"] is dcs_dit_xl
    with torch.device("meta"):
        assert DCSDiT().config == dcs_dit_xl()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_models(name: str) -> None:
    config = replace(PRESETS[name](), blocks=1, labels=("owl",))
    with torch.device("meta"):
        dit = DCSDiT(config)
    assert dit.tokens_in.weight.shape == (config.width, 17 * config.num_levels)
    assert config.guidance_scale == 6
    assert config.has_unconditional
    assert config.trained_levels is None
    # A full matrix modulates each block, but in the nano model.
    rank = 64 if name == "dcs-dit-nano" else None
    assert config.modulation_rank == rank
    assert config.qk_norm == (name == "dcs-dit-nano")


def test_the_nano_model_is_small() -> None:
    with torch.device("meta"):
        dit = DCSDiT(replace(dcs_dit_nano(), labels=tuple("abcdefghij")))
    assert 4_000_000 < sum(p.numel() for p in dit.parameters()) < 8_000_000
