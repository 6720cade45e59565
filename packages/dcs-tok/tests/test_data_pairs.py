"""Input and target show one region, corner to corner."""

from fractions import Fraction
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.resample import sample_positions
from dcs_common.training import seeded_generator
from dcs_tok.data import ScaleConfig
from dcs_tok.data.geometry import BatchGeometry, draw_geometry
from dcs_tok.data.pairs import Region, at_scale, draw_region, picture_pair

from .picture_files import noise

SCALES = ScaleConfig(
    short_sides=(13, 22, 31), aspects=((1, 1), (3, 4), (4, 3)), patches=(5,), asymmetric=True
)


def ramp(height: int, width: int) -> Tensor:
    """Bytes that rise evenly to the right and downwards, and so do all resized regions."""
    y, x = torch.arange(height)[:, None], torch.arange(width)[None, :]
    return torch.stack([2 * y + 3 * x, 2 * y + 0 * x, 0 * y + 3 * x]).to(torch.uint8)


def plane_through_corners(pixels: Tensor) -> Tensor:
    """What a picture would be that is even between its corners."""
    y, x = (sample_positions(extent).float() for extent in pixels.shape[-2:])
    first, right, down = pixels[:, :1, :1], pixels[:, :1, -1:], pixels[:, -1:, :1]
    return first + (right - first) * x[None, None, :] + (down - first) * y[None, :, None]


@given(seed=st.integers(0, 2**40), crop=st.sampled_from(["largest", "native"]))
def test_a_gradient_agrees_at_corresponding_coordinates(seed: int, crop: Any) -> None:
    scales = ScaleConfig(
        short_sides=SCALES.short_sides,
        aspects=SCALES.aspects,
        patches=SCALES.patches,
        asymmetric=True,
        crop=crop,
    )
    geometry = draw_geometry(scales, seeded_generator(seed), "picture")
    pixels, target = picture_pair(ramp(40, 50), geometry, scales, seeded_generator(seed, "place"))
    assert pixels.shape == (3, *geometry.size)
    assert target.shape == (3, *geometry.target_size)
    for y in (0, -1):
        for x in (0, -1):
            torch.testing.assert_close(pixels[:, y, x], target[:, y, x], rtol=0, atol=1e-6)
    for scaled in (pixels, target):
        torch.testing.assert_close(scaled, plane_through_corners(scaled), rtol=0, atol=1e-5)
    assert pixels[0].std() > 0.05


@given(seed=st.integers(0, 2**40))
def test_native_regions_are_the_source_bit_for_bit(seed: int) -> None:
    scales = ScaleConfig(
        short_sides=SCALES.short_sides,
        aspects=SCALES.aspects,
        patches=(5,),
        asymmetric=True,
        crop="native",
        flip=False,
    )
    picture = torch.from_numpy(noise(47, 53)).permute(2, 0, 1)
    geometry = draw_geometry(scales, seeded_generator(seed), "picture")
    pair = picture_pair(picture, geometry, scales, seeded_generator(seed, "place"))
    larger = max(pair, key=lambda scaled: scaled.shape[-2:])
    height, width = larger.shape[-2:]
    windows = picture.unfold(1, height, 1).unfold(2, width, 1)
    whole = (larger * 255).round().to(torch.uint8)
    assert torch.equal(whole.float() / 255, larger)
    same = (windows == whole[:, None, None]).flatten(3).all(dim=3).all(dim=0)
    assert same.sum() == 1


def test_smaller_pictures_fall_back_to_their_largest_region() -> None:
    scales = ScaleConfig(short_sides=(31,), crop="native", flip=False)
    geometry = draw_geometry(scales, seeded_generator(0), "picture")
    region = draw_region((20, 60), geometry, scales, seeded_generator(1))
    assert (region.height, region.width) == (20, 20)
    pixels, target = picture_pair(
        torch.full((3, 20, 60), 51, dtype=torch.uint8), geometry, scales, seeded_generator(1)
    )
    assert target is pixels
    torch.testing.assert_close(pixels, torch.full((3, 31, 31), 0.2))


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=st.integers(0, 2**40),
    crop=st.sampled_from(["largest", "native"]),
)
def test_regions_lie_within_any_picture(height: int, width: int, seed: int, crop: Any) -> None:
    scales = ScaleConfig(
        short_sides=(13, 22), aspects=((1, 1), (1, 3)), patches=(5,), crop=crop, asymmetric=True
    )
    geometry = draw_geometry(scales, seeded_generator(seed), "picture")
    region = draw_region((height, width), geometry, scales, seeded_generator(seed, "place"))
    assert 0 <= region.top <= region.top + region.height <= height
    assert 0 <= region.left <= region.left + region.width <= width
    rows, columns = geometry.larger_size
    if crop == "native" and height >= rows and width >= columns:
        assert (region.height, region.width) == (rows, columns)
    else:
        assert region.height == height or region.width == width
        # As near to the aspect as whole pixels allow.
        assert abs(Fraction(region.height * columns, rows) - region.width) <= max(
            1, Fraction(columns, rows), Fraction(rows, columns)
        )


def test_every_place_is_drawn_and_half_of_all_are_mirrored() -> None:
    scales = ScaleConfig(short_sides=(5,), patches=(5,), crop="native")
    geometry = BatchGeometry("picture", 5, (5, 5), (5, 5))
    regions = [draw_region((7, 8), geometry, scales, seeded_generator(i)) for i in range(400)]
    assert {(region.top, region.left) for region in regions} == {
        (top, left) for top in range(3) for left in range(4)
    }
    assert 150 < sum(region.mirrored for region in regions) < 250


def test_mirroring_is_the_only_thing_that_flip_changes() -> None:
    picture = torch.from_numpy(noise(9, 12)).permute(2, 0, 1)
    geometry = BatchGeometry("picture", 5, (6, 6), (5, 5))
    plain, mirrored = (
        ScaleConfig(short_sides=(6,), patches=(5,), asymmetric=True, flip=flip)
        for flip in (False, True)
    )
    turned = 0
    for seed in range(20):
        first = picture_pair(picture, geometry, plain, seeded_generator(seed))
        second = picture_pair(picture, geometry, mirrored, seeded_generator(seed))
        is_turned = not torch.equal(first[0], second[0])
        turned += is_turned
        for one, other in zip(first, second, strict=True):
            expected = one.flip(-1) if is_turned else one
            torch.testing.assert_close(other, expected, rtol=0, atol=1e-6)
    assert 3 < turned < 17


def test_a_region_is_cut_from_all_frames_alike() -> None:
    pixels = torch.arange(2 * 3 * 5 * 7).view(2, 3, 5, 7)
    expected = pixels[:, :, 1:4, 2:6].flip(-1)
    assert torch.equal(Region(1, 2, 3, 4, mirrored=True).cut(pixels), expected)


def test_resized_pixels_stay_in_range() -> None:
    black_and_white = (255 * (torch.arange(40 * 41) % 2)).view(1, 40, 41).to(torch.uint8)
    for size in ((7, 9), (33, 77), (40, 41)):
        scaled = at_scale(black_and_white, size)
        assert scaled.dtype == torch.float32
        assert scaled.min() >= 0
        assert scaled.max() <= 1
        assert scaled.shape == (1, *size)
