"""Which file of a codec is shown, and which piece of the picture."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_eval import RatePoint, rate_distortion
from dcs_eval.crops import CROP_SIDE, closest_point, equal_bytes_crops, most_detailed_window

from .coarse_codec import CoarseCodec


def point(num_bytes: int, psnr: float = 30.0) -> RatePoint:
    return RatePoint(
        codec="c", setting=1, picture="p", num_bytes=num_bytes, bpp=num_bytes / 100, psnr=psnr
    )


@given(st.lists(st.integers(1, 99), min_size=1, max_size=9), st.integers(1, 99))
def test_the_largest_file_within_the_target_is_shown(sizes: list[int], target: int) -> None:
    found = closest_point([point(size) for size in sizes], target).num_bytes
    fitting = [size for size in sizes if size <= target]
    assert found == (max(fitting) if fitting else min(sizes))


def test_of_two_files_of_one_size_the_better_is_shown() -> None:
    for target in (5, 20):
        assert closest_point([point(10, 30), point(10, 31), point(10, 29)], target).psnr == 31


def test_the_window_is_where_the_edges_are() -> None:
    picture = torch.full((1, 3, 128, 192), 0.5)
    picture[..., 48:80, 96:128] = torch.rand(1, 3, 32, 32, generator=torch.Generator())
    assert most_detailed_window(picture, 32) == (48, 96)


@pytest.mark.parametrize("size", [(5, 7), (5, 300), (300, 5), (200, 200)])
def test_a_window_fits_any_picture(size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size, generator=torch.Generator())
    top, left = most_detailed_window(picture, CROP_SIDE)
    window = picture[..., top : top + CROP_SIDE, left : left + CROP_SIDE]
    assert window.shape[2:] == (min(size[0], CROP_SIDE), min(size[1], CROP_SIDE))


def test_a_row_holds_the_same_piece_of_each() -> None:
    codec, dear = CoarseCodec(), CoarseCodec(settings=(85,))
    picture = torch.rand(1, 3, 20, 30, generator=torch.Generator()) * 0.5
    picture = picture.mul(255).round() / 255
    codecs = {"coarse": codec, "dear": dear}
    record = rate_distortion(codecs, [("p", picture)])
    row = equal_bytes_crops(codecs, record, "p", picture, target_bpp=0.8)
    assert (row.picture, row.target_bytes) == ("p", 60)
    assert torch.equal(row.original, picture)
    coarse, over = row.crops["coarse"], row.crops["dear"]
    assert (coarse.point.num_bytes, coarse.fits) == (51, True)
    assert torch.allclose(coarse.pixels, picture + 1 / 51, atol=1e-6)
    assert (over.point.num_bytes, over.fits) == (85, False)
