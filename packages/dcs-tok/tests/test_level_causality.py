"""What level i holds never depends on a level above i, in each part of the tokenizer.

Exact: a perturbation at unchanged shapes leaves every number that must not see it untouched.
"""

from copy import deepcopy
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from dcs_common.positions import pixel_coordinates
from dcs_common.token_layout import TokenLayout

from .tiny_models import CHANNELS, LEVELS, TRANSFORMERS, model, random_levels, random_pixels

COORDINATES = pixel_coordinates((Fraction(1, 2), Fraction(1)), 3, 5)
PATCHES = 7


def _perturb(tensor: Tensor, *where: object) -> Tensor:
    copy = tensor.clone()
    copy[where] += random_pixels(*copy[where].shape, seed=1).to(copy) + 0.5
    return copy


@pytest.mark.parametrize("level", range(LEVELS))
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_patchifier_levels_ignore_the_latent_tokens_above_them(name: str, level: int) -> None:
    patchifier = model(name).patchifier
    pixels = random_pixels(PATCHES, len(COORDINATES), patchifier.pixels_in.in_features)
    before = patchifier(pixels, COORDINATES, LEVELS)
    other = deepcopy(patchifier)
    other.latent_tokens.data = _perturb(patchifier.latent_tokens.data, level)
    after = other(pixels, COORDINATES, LEVELS)
    assert torch.equal(after[:, :level], before[:, :level])
    assert (after[:, level:] != before[:, level:]).any(dim=-1).all()


@pytest.mark.parametrize("segment", range(3))
@pytest.mark.parametrize("level", range(LEVELS))
@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_trunk_tokens_see_the_box_of_lower_levels_and_earlier_segments(
    part: str, name: str, level: int, segment: int
) -> None:
    trunk: nn.Module = getattr(model(name), part)
    level_map = random_levels(2, 3, 2, 5, seed=3)
    layout = TokenLayout.of(level_map, LEVELS)
    tokens = random_pixels(2, 3, 2, 5, LEVELS, trunk.tokens_in.in_features)
    before = layout.scatter(trunk(layout.gather(tokens), layout))
    perturbed = _perturb(tokens, slice(None), segment, slice(None), slice(None), level)
    after = layout.scatter(trunk(layout.gather(perturbed), layout))

    is_active = torch.arange(LEVELS) < level_map.unsqueeze(-1)
    has_source = is_active[:, segment, ..., level].any(dim=(1, 2))
    assert has_source.all()
    may_change = torch.zeros_like(is_active)
    may_change[:, segment:, ..., level:] = True
    may_change &= is_active
    assert torch.equal((after != before).any(dim=-1), may_change)


def _inner_latents(depatchifier: nn.Module, latents: Tensor) -> list[Tensor]:
    """Run the depatchifier; return the latent tokens that each block but the last hands on."""
    seen: list[Tensor] = []
    hooks = [
        block.feed_forward.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
        for block in depatchifier.blocks[:-1]
    ]
    depatchifier(latents, depatchifier.prepare(COORDINATES))
    for hook in hooks:
        hook.remove()
    return [tokens[:, len(COORDINATES) :] for tokens in seen]


DEEP = [name for name in TRANSFORMERS if len(model(name).depatchifier.blocks) > 1]


@pytest.mark.parametrize("level", range(LEVELS))
@pytest.mark.parametrize("name", DEEP)
def test_depatchifier_latents_ignore_levels_above_them(name: str, level: int) -> None:
    depatchifier = model(name).depatchifier
    latents = random_pixels(PATCHES, LEVELS, depatchifier.config.width)
    before = _inner_latents(depatchifier, latents)
    after = _inner_latents(depatchifier, _perturb(latents, slice(None), level))
    assert len(before) == len(depatchifier.blocks) - 1
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new[:, :level], old[:, :level])
        assert (new[:, level:] != old[:, level:]).any(dim=-1).all()


@pytest.mark.parametrize("name", DEEP)
def test_depatchifier_latents_ignore_pixel_tokens(name: str) -> None:
    depatchifier = model(name).depatchifier
    latents = random_pixels(PATCHES, LEVELS, depatchifier.config.width)
    other = deepcopy(depatchifier)
    other.pixel_token.data = _perturb(depatchifier.pixel_token.data)
    for old, new in zip(
        _inner_latents(depatchifier, latents), _inner_latents(other, latents), strict=True
    ):
        assert torch.equal(old, new)


@pytest.mark.parametrize("level", range(LEVELS))
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_depatchifier_pixels_see_every_level_of_their_own_patch_only(name: str, level: int) -> None:
    depatchifier = model(name).depatchifier
    shared = depatchifier.prepare(COORDINATES)
    latents = random_pixels(PATCHES, LEVELS, depatchifier.config.width)
    before = depatchifier(latents, shared)
    after = depatchifier(_perturb(latents, 4, level), shared)
    is_changed = (after != before).any(dim=-1)
    assert is_changed[4].all()
    assert not is_changed[torch.arange(PATCHES) != 4].any()


@pytest.mark.parametrize("kind", ["still", "moving"])
@pytest.mark.parametrize("name", ["beside_linear", "nano"])
def test_linear_codes_add_each_level_by_itself(name: str, kind: str) -> None:
    path = getattr(model(name).linear_path, kind)
    times = (Fraction(1, 3), Fraction(1))
    code = random_pixels(PATCHES, LEVELS, CHANNELS)
    floor = path.decode(torch.zeros_like(code), times)
    total = floor.clone()
    for level in range(LEVELS):
        alone = torch.zeros_like(code)
        alone[:, level] = code[:, level]
        total += path.decode(alone, times) - floor
        torch.testing.assert_close(path.decode(code[:, : level + 1], times), total)
