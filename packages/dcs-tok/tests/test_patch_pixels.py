"""The couplings of Fig. 1: tokens that grow with the scale, and tokens that do not."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.training import seeded_generator
from dcs_tok import PRESETS, DCSTok, allocate_levels
from dcs_tok.data import ScaleConfig
from dcs_tok.data.geometry import draw_geometry

from .errors import error
from .tiny_models import CONFIGS, LEVELS, model, perturbed, random_pixels

PIXELS = 5


@pytest.fixture(scope="module")
def vanilla() -> DCSTok:
    return perturbed(replace(CONFIGS["nano"](), patch_pixels=PIXELS))


def sizes() -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, 41), st.integers(1, 41))


@given(sizes())
def test_a_vanilla_tokenizer_has_patches_of_one_size(
    vanilla: DCSTok, size: tuple[int, int]
) -> None:
    latents = vanilla.encode(random_pixels(1, 3, *size))
    short, long = min(size), max(size)
    assert latents.patches == max(1, int(short / PIXELS + 0.5))
    assert abs(short / latents.patches - PIXELS) <= max(
        PIXELS / 2 / latents.patches, PIXELS - short
    )
    # The long side follows the short one's patches, as everywhere.
    assert max(latents.grid) == max(1, int(latents.patches * long / short + 0.5))
    assert vanilla.decode(latents).shape == (1, 3, *size)


@given(st.integers(1, 4), st.integers(2, 3))
def test_tokens_grow_with_the_scale_or_stay(vanilla: DCSTok, patches: int, factor: int) -> None:
    """So many times the side are so many times the patches along it, or the same patches."""
    side = PIXELS * patches
    small, large = (random_pixels(1, 3, s, s) for s in (side, factor * side))
    assert vanilla.encode(small).grid == (1, patches, patches)
    assert vanilla.encode(large).grid == (1, factor * patches, factor * patches)
    fixed = model("nano")
    assert fixed.encode(small).grid == fixed.encode(large).grid == (1, 3, 3)


def test_patches_that_are_asked_for_win(vanilla: DCSTok) -> None:
    pixels = random_pixels(1, 3, 20, 20)
    assert vanilla.encode(pixels).patches == 4
    assert vanilla.encode(pixels, patches=7).patches == 7
    # Nothing but the default differs from a model that is told the same k.
    same = perturbed(CONFIGS["nano"]())
    assert torch.equal(same.encode(pixels, patches=4).tokens, vanilla.encode(pixels).tokens)


def test_levels_are_allocated_on_the_model_s_own_grid(vanilla: DCSTok) -> None:
    pixels = random_pixels(1, 3, 20, 30)
    found = allocate_levels(pixels, average=2, model=vanilla)
    assert found.shape == (1, *vanilla.encode(pixels).grid) == (1, 1, 4, 6)
    assert found.max() <= LEVELS


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("vanilla", {64: 16, 128: 64, 256: 256}),
        *((name, {64: 64, 128: 64, 256: 64}) for name in ("fixed", "kl")),
        ("dcs", {64: 512, 128: 512, 256: 512}),
    ],
)
def test_the_presets_share_64_patches_of_16_channels_at_128_px(
    name: str, tokens: dict[int, int]
) -> None:
    config = PRESETS[f"dcs-tok-nano-{name}"]()
    assert config.latent_channels == 16
    assert config.patches_of((128, 128)) == 8
    found = {side: config.patches_of((side, side)) ** 2 * config.num_levels for side in tokens}
    assert found == tokens


def test_a_run_of_a_vanilla_tokenizer_draws_patches_with_the_side() -> None:
    sides = (10, 15, 20, 20, 33)
    scales = ScaleConfig(short_sides=sides, patches=(99,), patch_pixels=PIXELS)
    count = 1_000
    drawn = [draw_geometry(scales, seeded_generator(0, i), "picture") for i in range(count)]
    assert {(g.size[0], g.patches) for g in drawn} == {(10, 2), (15, 3), (20, 4), (33, 7)}
    for side in set(sides):
        share = sides.count(side) / len(sides)
        found = sum(g.size[0] == side for g in drawn) / count
        assert abs(found - share) < 4 * (share * (1 - share) / count) ** 0.5


def test_sides_are_alike_where_two_have_the_same_patches() -> None:
    scales = ScaleConfig(short_sides=(14, 16, 24), patch_pixels=8)
    drawn = [draw_geometry(scales, seeded_generator(1, i), "picture") for i in range(900)]
    for side in (14, 16, 24):
        assert abs(sum(g.size[0] == side for g in drawn) / 900 - 1 / 3) < 0.07


def test_scales_that_a_fixed_patch_cannot_have() -> None:
    with error("`patch_pixels` must be at least 1 or None, but is 0."):
        ScaleConfig(short_sides=(8,), patch_pixels=0)
    with error(
        "`asymmetric` must be False with `patch_pixels`, but is True: input and target share a "
        "grid, and a fixed patch ties it to one scale. Leave one of them out."
    ):
        ScaleConfig(short_sides=(8,), patch_pixels=4, asymmetric=True)
