"""Pictures come upright, in RGB, scaled to cover a size and cropped at the centre."""

import io
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from dcs_dit.data.picture_pixels import check_pillow, decode_pixels

from .labelled_files import error, noise


def decoded(image: Image.Image, size: tuple[int, int], kind: str = "PNG", **options: Any) -> Tensor:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return decode_pixels(buffer.getvalue(), size)


def as_array(pixels: Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).numpy()


def test_a_picture_of_the_size_stays_as_it_is() -> None:
    rgb = noise(13, 17)
    assert np.array_equal(as_array(decoded(Image.fromarray(rgb), (13, 17))), rgb)


@pytest.mark.parametrize(("height", "width"), [(13, 30), (31, 13)])
def test_a_picture_whose_short_side_fits_is_only_cropped(height: int, width: int) -> None:
    rgb = noise(height, width)
    top, left = (height - 13) // 2, (width - 13) // 2
    expected = rgb[top : top + 13, left : left + 13]
    assert np.array_equal(as_array(decoded(Image.fromarray(rgb), (13, 13))), expected)


def test_scaling_is_by_lanczos() -> None:
    image = Image.fromarray(noise(40, 60))
    expected = np.asarray(image.resize((15, 10), Image.Resampling.LANCZOS))[:, 2:12]
    assert np.array_equal(as_array(decoded(image, (10, 10))), expected)


@given(st.tuples(*4 * [st.integers(1, 40)]))
def test_any_picture_covers_any_size(extents: tuple[int, int, int, int]) -> None:
    height, width, *size = extents
    flat = Image.new("RGB", (width, height), (10, 120, 230))
    pixels = decoded(flat, (size[0], size[1]))
    assert pixels.shape == (3, *size)
    # A border of anything else would show.
    assert torch.equal(pixels, torch.tensor([10, 120, 230]).view(3, 1, 1).expand(3, *size))


def test_a_photo_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    rgb = noise(4, 6)
    pixels = decoded(Image.fromarray(rgb), (6, 4), exif=exif)
    assert np.array_equal(as_array(pixels), np.rot90(rgb, -1))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("LA", (77, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("I;16", 257 * 91, (91, 91, 91)),
    ],
)
def test_other_modes_become_rgb(mode: str, colour: Any, expected: tuple[int, int, int]) -> None:
    pixels = decoded(Image.new(mode, (2, 2), colour), (2, 2))
    assert torch.equal(pixels, torch.tensor(expected).view(3, 1, 1).expand(3, 2, 2))


def test_a_palette_with_a_transparent_colour_lies_over_white() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 9, 99, 199])
    assert decoded(image, (2, 2))[:, 0, 0].tolist() == [9, 99, 199]
    assert decoded(image, (2, 2), transparency=1)[:, 0, 0].tolist() == [255, 255, 255]


def test_floating_point_pixels_are_refused() -> None:
    with error("floating-point pixels have no agreed range"):
        decoded(Image.new("F", (2, 2), 0.5), (2, 2), "TIFF")


def test_pillow_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with error(
        "Reading pictures needs Pillow, but it is not installed. Install `dcs-dit[decode]`."
    ):
        check_pillow()
