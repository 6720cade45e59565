"""Level causality of the whole tokenizer, exact at unchanged shapes, and in its gradients.

The pixels of a patch with m levels depend on no token above level m of any patch.
"""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dcs_common import Latents
from dcs_tok import DCSTok, dcs_tok_nano

from .grids import changed, grid_of, over_pixels
from .tiny_models import (
    CHANNELS,
    LEVELS,
    NAMES,
    TRANSFORMERS,
    model,
    perturbed,
    random_levels,
    random_pixels,
)

SCALES = [(None, 1), (5, 6)]  # fps and frames: pictures, and clips of three segments
SCALE_IDS = ["image", "clip"]
HEIGHT, WIDTH = 7, 11


def _pixels(fps: int | None, frames: int) -> Tensor:
    shape = (HEIGHT, WIDTH) if fps is None else (frames, HEIGHT, WIDTH)
    return random_pixels(2, 3, *shape)


def _ragged_latents(tok: DCSTok, fps: int | None, frames: int) -> Latents:
    """Random tokens under a level map in which each sample and segment has every count."""
    segments = 1 if fps is None else 3
    n, d = tok.config.num_levels, tok.config.latent_channels
    levels = random_levels(2, segments, 3, 4, seed=5, high=n)
    levels[:, :, 0, 0], levels[:, :, 1, 1] = n, 1
    tokens = random_pixels(2, segments, 3, 4, n, d) - 0.5
    tokens = tokens * (torch.arange(n) < levels.unsqueeze(-1)).unsqueeze(-1)
    return Latents(tokens=tokens, levels=levels, size=(HEIGHT, WIDTH), fps=fps, frames=frames)


def _with_other_level(tok: DCSTok, level: int) -> DCSTok:
    """Return a copy whose weights that belong to one level of the encoding differ."""
    other = deepcopy(tok)
    own = []
    if other.patchifier is not None:
        own.append(other.patchifier.latent_tokens)
    if other.encoder is not None and other.encoder.level_embedding is not None:
        own.append(other.encoder.level_embedding)
    for network in (other.encoder_networks or {}).values():
        own.append(network.tokens_out.weight.data.unflatten(0, (tok.config.num_levels, -1)))
    if other.linear_path is not None:
        own += [other.linear_path.still.encode_weight, other.linear_path.moving.encode_weight]
    with torch.no_grad():
        for weight in own:
            weight[level] += 0.5
    return other


@pytest.mark.parametrize(("fps", "frames"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("level", [1, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_encode_keeps_lower_levels_when_a_higher_one_changes(
    name: str, level: int, fps: int | None, frames: int
) -> None:
    tok, pixels = model(name), _pixels(fps, frames)
    before = tok.encode(pixels, fps=fps).tokens
    after = _with_other_level(tok, level).encode(pixels, fps=fps).tokens
    assert torch.equal(after[..., :level, :], before[..., :level, :])
    # Networks encode each level from the pixels alone; in a trunk, higher levels see lower ones.
    above = slice(level, None if name in TRANSFORMERS else level + 1)
    assert (after[..., above, :] != before[..., above, :]).any(dim=-1).all()
    if name not in TRANSFORMERS:
        assert torch.equal(after[..., level + 1 :, :], before[..., level + 1 :, :])


@pytest.mark.parametrize(("fps", "frames"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("level", [1, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_decoded_patches_ignore_levels_above_their_own_in_any_patch(
    name: str, level: int, fps: int | None, frames: int
) -> None:
    tok, latents = model(name), _ragged_latents(model(name), fps, frames)
    tokens = latents.tokens.clone()
    tokens[..., level, :] += (latents.levels > level).unsqueeze(-1) * 0.3
    other = replace(latents, tokens=tokens)
    levels = over_pixels(latents.levels, grid_of(tok, latents))

    with torch.no_grad():
        is_changed = changed(tok.reconstruct(latents), tok.reconstruct(other))
    assert torch.equal(is_changed, levels > level)
    is_changed = changed(tok.decode(latents), tok.decode(other))
    assert not is_changed[levels <= level].any()
    assert is_changed[levels > level].any()


@pytest.mark.parametrize(("fps", "frames"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", NAMES)
def test_tokens_that_a_level_map_drops_have_no_effect(
    name: str, fps: int | None, frames: int
) -> None:
    tok, latents = model(name), _ragged_latents(model(name), fps, frames)
    is_dropped = (torch.arange(LEVELS) >= latents.levels.unsqueeze(-1)).unsqueeze(-1)
    other = replace(latents, tokens=latents.tokens + is_dropped * 3.0)
    assert torch.equal(tok.decode(other), tok.decode(latents))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_encode_gradients_reach_own_and_lower_latent_tokens_only(name: str) -> None:
    tok = model(name)
    _, latents = tok(_pixels(None, 1))
    for level in range(LEVELS):
        (gradient,) = torch.autograd.grad(
            latents.tokens[..., level, :].square().sum(),
            tok.patchifier.latent_tokens,
            retain_graph=True,
        )
        reached = (gradient != 0).any(dim=-1)
        assert reached.tolist() == [other <= level for other in range(LEVELS)]


@pytest.mark.parametrize(("fps", "frames"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", NAMES)
def test_decode_gradients_reach_what_a_patch_may_see_and_all_of_it(
    name: str, fps: int | None, frames: int
) -> None:
    tok, latents = model(name), _ragged_latents(model(name), fps, frames)
    tokens = latents.tokens.requires_grad_()
    pixels = tok.reconstruct(latents).reshape(2, 3, -1, HEIGHT, WIDTH)
    levels = over_pixels(latents.levels, grid_of(tok, latents))
    is_active = torch.arange(LEVELS) < latents.levels.unsqueeze(-1)
    for count in range(1, LEVELS + 1):
        loss = (pixels * (levels == count).unsqueeze(1)).square().sum()
        (gradient,) = torch.autograd.grad(loss, tokens, retain_graph=True)
        reached = (gradient != 0).any(dim=-1)
        last_segment = (latents.levels == count).any(dim=3).any(dim=2)  # b t
        sees = last_segment.flip(1).cummax(dim=1).values.flip(1)[:, :, None, None, None]
        may_reach = is_active & (torch.arange(LEVELS) < count) & sees
        if name in TRANSFORMERS:
            assert torch.equal(reached, may_reach)
        else:  # networks look at neighbours within their segment
            assert not reached[~may_reach].any()
            own = is_active & (latents.levels == count).unsqueeze(-1)
            assert reached[own].all()
            assert reached.sum() > own.sum()


def test_the_nano_preset_is_level_causal_end_to_end() -> None:
    tok = perturbed(dcs_tok_nano())
    n, channels = tok.config.num_levels, tok.config.latent_channels
    assert (n, channels) != (LEVELS, CHANNELS)
    pixels = random_pixels(1, 3, HEIGHT, WIDTH)
    before = tok.encode(pixels, patches=3).tokens
    for level in range(1, n):
        after = _with_other_level(tok, level).encode(pixels, patches=3).tokens
        assert torch.equal(after[..., :level, :], before[..., :level, :])
        assert (after[..., level, :] != before[..., level, :]).any(dim=-1).all()
    latents = _ragged_latents(tok, None, 1)
    levels = over_pixels(latents.levels, grid_of(tok, latents))
    for level in range(1, n):
        tokens = latents.tokens.clone()
        tokens[..., level, :] += (latents.levels > level).unsqueeze(-1) * 0.3
        with torch.no_grad():
            is_changed = changed(
                tok.reconstruct(latents), tok.reconstruct(replace(latents, tokens=tokens))
            )
        assert torch.equal(is_changed, levels > level)
