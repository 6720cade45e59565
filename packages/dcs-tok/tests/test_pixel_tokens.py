"""Pixel tokens: where they lie, what they hold, and that a place means the same at every scale."""

from fractions import Fraction
from math import pi

import pytest
import torch

from dcs_common.geometry import PatchGroup
from dcs_common.positions import level_coordinates, pixel_coordinates
from dcs_common.rope import GroupedRope, RopeConfig
from dcs_tok.canonical_patch import to_canonical
from dcs_tok.pixel_position import FourierFeatures, patch_rotation
from dcs_tok.pixel_tokens import PixelTokens, canonical_times

from .tiny_models import CONFIGS, NAMES, model, random_pixels

CANONICAL = ["cells_alone", "nano"]
CLOSE = {"rtol": 0, "atol": 1e-12}


def _group(times: tuple[Fraction, ...], height: int, width: int) -> PatchGroup:
    return PatchGroup((0,), (0,), (0,), height, width, times)


def _canonical_group(name: str) -> PatchGroup:
    """A patch that is its own canonical patch."""
    canonical = CONFIGS[name]().canonical
    assert canonical is not None
    times = tuple(Fraction(i + 1, canonical.frames) for i in range(canonical.frames))
    return _group(times, canonical.grid, canonical.grid)


@pytest.mark.parametrize("name", NAMES)
def test_a_token_holds_the_pixels_at_its_coordinates(name: str) -> None:
    config = CONFIGS[name]()
    tokens = PixelTokens(config)
    is_source = config.pixel_tokens == "source"
    group = _group((Fraction(1, 2), Fraction(1)), 3, 5) if is_source else _canonical_group(name)
    cell = 1 if is_source else config.canonical.cell
    coordinates = tokens.encoding_coordinates(group)
    cells = group.height // cell, group.width // cell
    for frame, time in enumerate(group.times):
        for y in range(group.height):
            for x in range(group.width):
                patch = torch.full((1, len(group.times), group.height, group.width, 3), 0.5)
                patch[0, frame, y, x] = 1.0
                canonical = None if is_source else patch
                values = tokens.embeddable(patch, canonical)
                assert values.sum() == 3
                (where,) = (values != 0).any(dim=-1)[0].nonzero()[:, 0].tolist()
                row, column = y // cell / (cells[0] - 1), x // cell / (cells[1] - 1)
                assert coordinates[where].tolist() == [float(time), row, column, 0]


@pytest.mark.parametrize("name", ["paper", "own_pixels", "cells_alone"])
def test_reading_tokens_inverts_writing_them(name: str) -> None:
    tokens = PixelTokens(CONFIGS[name]())
    is_source = CONFIGS[name]().pixel_tokens == "source"
    group = _group((Fraction(1),), 3, 5) if is_source else _canonical_group(name)
    patches = random_pixels(7, len(group.times), group.height, group.width, 3)
    values = tokens.embeddable(patches, None if is_source else patches)
    assert values.min() < -0.5 and values.max() > 0.5
    torch.testing.assert_close(tokens.read(values, None, group), patches, **CLOSE)
    assert torch.equal(tokens.encoding_coordinates(group), tokens.decoding_coordinates(group))


@pytest.mark.parametrize("name", CANONICAL)
def test_the_number_of_canonical_tokens_does_not_depend_on_the_scale(name: str) -> None:
    config = CONFIGS[name]()
    assert config.canonical is not None
    frames, grid = config.canonical.frames, config.canonical.grid
    tokens = PixelTokens(config)
    cells = (grid // config.canonical.cell) ** 2
    for count in (2, 3, 7):
        times = tuple(Fraction(i + 1, count) for i in range(count))
        for height, width in ((2, 3), (19, 31)):
            group = _group(times, height, width)
            patches = random_pixels(1, count, height, width, 3)
            canonical = to_canonical(patches, times, frames, grid)
            values = tokens.embeddable(patches, canonical)
            assert values.shape[1] == len(tokens.encoding_coordinates(group)) == frames * cells
            asked = len(canonical_times(times, frames)) * cells
            assert len(tokens.decoding_coordinates(group)) == asked
    picture = _group((Fraction(1),), 19, 31)
    assert len(tokens.encoding_coordinates(picture)) == cells
    assert len(tokens.decoding_coordinates(picture)) == cells


def test_few_frames_are_asked_for_where_they_lie_and_many_where_canonical_ones_do() -> None:
    few = (Fraction(1, 5), Fraction(4, 5))
    assert canonical_times(few, 2) == few
    assert canonical_times((*few, Fraction(1)), 2) == (Fraction(1, 2), Fraction(1))


SHARED = {(4, 3): (7, 5), (2, 5): (6, 9)}  # coordinates of the first lie among the second's


@pytest.mark.parametrize("small", SHARED)
def test_positions_depend_on_normalised_coordinates_alone(small: tuple[int, int]) -> None:
    large = SHARED[small]
    steps = [(b - 1) // (a - 1) for a, b in zip(small, large, strict=True)]
    times = (Fraction(1, 3), Fraction(1))
    few, many = (pixel_coordinates(times, *size) for size in (small, large))
    shared = torch.arange(len(many)).view(2, *large)[:, :: steps[0], :: steps[1]].flatten()

    features = FourierFeatures(17, 3).double()
    torch.testing.assert_close(features(many)[shared], features(few), **CLOSE)
    rope = model("paper").patchifier.rope
    like = torch.zeros((), dtype=torch.float64)
    latents = level_coordinates(5)
    pixels_few, both_few = patch_rotation(rope, few, latents, like)
    pixels_many, both_many = patch_rotation(rope, many, latents, like)
    for part in ("cos", "sin"):
        ours, theirs = getattr(pixels_many, part), getattr(pixels_few, part)
        torch.testing.assert_close(ours[shared], theirs, **CLOSE)
        ours, theirs = getattr(both_many, part), getattr(both_few, part)
        torch.testing.assert_close(ours[-5:], theirs[-5:], **CLOSE)
        assert torch.equal(theirs[:-5], getattr(pixels_few, part))


def test_corners_have_the_same_position_at_all_sizes() -> None:
    features = FourierFeatures(17, 3).double()
    at_corners = []
    for height, width in ((2, 3), (13, 7), (45, 44)):
        values = features(pixel_coordinates((Fraction(1),), height, width)).view(height, width, -1)
        at_corners.append(values[[0, 0, -1, -1], [0, -1, 0, -1]])
    torch.testing.assert_close(at_corners[1], at_corners[0], **CLOSE)
    torch.testing.assert_close(at_corners[2], at_corners[0], **CLOSE)


def test_every_place_has_its_own_features_and_rotation() -> None:
    places = pixel_coordinates((Fraction(1, 4), Fraction(1)), 7, 5)
    features = FourierFeatures(17, 3).double()(places)
    rope = GroupedRope(32, RopeConfig(spatial_steps=8, segment_horizon=1, segment_step=0.25))
    rotation = rope(places, features)
    for values in (features, torch.cat([rotation.cos, rotation.sin], dim=-1).flatten(1)):
        distance = torch.cdist(values, values) + torch.eye(len(places))
        assert distance.min() > 1e-3


def test_fourier_features_are_sines_and_cosines_of_octaves_of_half_a_turn() -> None:
    features = FourierFeatures(12, 2).double()
    features.project.weight.data = torch.eye(12, dtype=torch.float64)
    features.project.bias.data.zero_()
    time, row, column = 0.25, 0.5, 1 / 3
    angles = torch.tensor(
        [pi * octave * place for place in (time, row, column) for octave in (1, 2)],
        dtype=torch.float64,
    )
    expected = torch.cat([angles.sin(), angles.cos()])
    values = features(torch.tensor([[time, row, column, 7.0]], dtype=torch.float64))
    torch.testing.assert_close(values[0], expected, **CLOSE)
