"""Any prefix of levels is a valid latent: encoding fewer levels equals cutting more of them."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common import sample_level_map
from dcs_tok import dcs_tok_nano

from .tiny_models import LEVELS, NAMES, TRANSFORMERS, model, perturbed, random_levels, random_pixels

CLOSE = {"rtol": 0, "atol": 1e-9}
SCALES = [(None, (2, 3, 11, 13)), (5, (2, 3, 4, 7, 11))]
SCALE_IDS = ["image", "clip"]


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("count", range(1, LEVELS + 1))
@pytest.mark.parametrize("name", NAMES)
def test_the_first_levels_of_an_encoding_are_the_shorter_encoding(
    name: str, count: int, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = model(name), random_pixels(*shape)
    whole = tok.encode(pixels, fps=fps).take_levels(count)
    short = tok.encode(pixels, fps=fps, levels=count)
    torch.testing.assert_close(short.tokens, whole.tokens, **CLOSE)
    assert torch.equal(short.levels, whole.levels)


@given(
    name=st.sampled_from(NAMES),
    fps=st.sampled_from([None, 3, 5]),
    short=st.integers(3, 19),
    long=st.integers(3, 19),
    draw=st.sampled_from(["stratified", "independent"]),
    count=st.integers(1, LEVELS),
    seed=st.integers(0, 99),
)
def test_cutting_an_encoding_under_a_level_map_equals_encoding_under_the_cut_map(
    name: str, fps: int | None, short: int, long: int, draw: str, count: int, seed: int
) -> None:
    tok = model(name)
    size = (max(short, long), short) if seed % 2 else (short, max(short, long))
    pixels = random_pixels(2, 3, *(() if fps is None else (4,)), *size, seed=seed)
    grid = tok.encode(pixels, fps=fps, levels=1).grid
    generator = torch.Generator().manual_seed(seed)
    levels = sample_level_map((2, *grid), LEVELS, draw=draw, generator=generator)
    cut = tok.encode(pixels, fps=fps, levels=levels).take_levels(min(count, int(levels.max())))
    again = tok.encode(pixels, fps=fps, levels=levels.clamp(max=count))
    torch.testing.assert_close(again.tokens, cut.tokens, **CLOSE)
    assert torch.equal(again.levels, cut.levels)


@pytest.mark.parametrize("name", NAMES)
def test_dropped_tokens_are_zero_and_no_longer_seen(name: str) -> None:
    tok, pixels = model(name), random_pixels(2, 3, 13, 17)
    levels = random_levels(2, 1, 3, 4)
    latents = tok.encode(pixels, levels=levels)
    is_active = torch.arange(LEVELS) < levels.unsqueeze(-1)
    assert torch.equal((latents.tokens != 0).any(dim=-1), is_active)
    # Patch by patch, the full encoding is another one: there every token saw all others.
    whole = tok.encode(pixels).tokens * is_active.unsqueeze(-1)
    if name in TRANSFORMERS:
        assert (latents.tokens - whole)[..., -1, :].abs().max() > 1e-6
    else:  # the networks encode from pixels alone
        torch.testing.assert_close(latents.tokens, whole, **CLOSE)
    torch.testing.assert_close(latents.tokens[..., 0, :], whole[..., 0, :], **CLOSE)


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_level_map_shared_by_the_batch_is_the_map_of_every_sample(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = model(name), random_pixels(*shape)
    grid = tok.encode(pixels, fps=fps, levels=1).grid
    levels = random_levels(*grid).int()
    shared = tok.encode(pixels, fps=fps, levels=levels)
    each = tok.encode(pixels, fps=fps, levels=levels.expand(2, *grid))
    assert torch.equal(shared.tokens, each.tokens)
    assert torch.equal(shared.levels, levels.long().expand(2, *grid))


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", NAMES)
def test_decoding_fewer_levels_is_decoding_the_prefix(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = model(name), random_pixels(*shape)
    ragged = tok.encode(pixels, fps=fps, levels=_full_range(tok.encode(pixels, fps=fps).levels))
    for latents in (tok.encode(pixels, fps=fps), ragged):
        for count in (1, 3):
            expected = tok.decode(latents.take_levels(count))
            assert torch.equal(tok.decode(latents, levels=count), expected)
        wanted = random_levels(*latents.levels.shape, seed=7)
        kept = torch.minimum(wanted, latents.levels)
        expected = tok.decode(replace(latents, levels=kept))
        torch.testing.assert_close(tok.decode(latents, levels=wanted), expected, **CLOSE)


def _full_range(levels: Tensor) -> Tensor:
    ragged = random_levels(*levels.shape, seed=9)
    ragged[:, :, 0, 0] = LEVELS
    return ragged


def test_the_nano_preset_has_the_prefix_property() -> None:
    tok = perturbed(dcs_tok_nano())
    clip = random_pixels(1, 3, 5, 13, 17)
    whole = tok.encode(clip, fps=25, patches=3)
    for count in (1, 3, 7):
        short = tok.encode(clip, fps=25, patches=3, levels=count)
        torch.testing.assert_close(short.tokens, whole.take_levels(count).tokens, **CLOSE)
