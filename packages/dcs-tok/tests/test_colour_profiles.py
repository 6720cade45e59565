"""Pictures with an ICC profile are converted to sRGB; a profile that cannot be used is noted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from dcs_tok.pictures import read_picture

from .picture_files import (
    as_pixels,
    icc_profile,
    noise,
    saved,
    with_red_and_blue_swapped,
)

UNUSABLE = "its colour profile could not be applied"
RGB = noise(5, 7)
SWAPPED = icc_profile(with_red_and_blue_swapped)


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_an_srgb_profile_changes_nothing(ending: str, tmp_path: Path) -> None:
    options = {"lossless": True} if ending == ".webp" else {}
    image = Image.fromarray(RGB)
    path = saved(tmp_path / f"p{ending}", image, icc_profile=icc_profile(), **options)
    picture = read_picture(path)
    assert torch.equal(picture.pixels, as_pixels(RGB))
    assert picture.notes == ()


def test_a_profile_with_swapped_primaries_swaps_the_channels(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.png", Image.fromarray(RGB), icc_profile=SWAPPED)
    picture = read_picture(path)
    expected = as_pixels(RGB[..., ::-1])
    torch.testing.assert_close(picture.pixels, expected, rtol=0, atol=2.01 / 255)
    assert picture.notes == ()


def test_a_profile_holds_for_a_palette(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 20, 30, 40, 250])
    image.putdata([0, 1])
    picture = read_picture(saved(tmp_path / "p.png", image, icc_profile=SWAPPED))
    expected = as_pixels(np.array([[[20, 10, 200], [250, 40, 30]]], dtype=np.uint8))
    torch.testing.assert_close(picture.pixels, expected, rtol=0, atol=2.01 / 255)


def test_a_profile_leaves_the_white_behind_transparency_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1))
    image.putdata([(200, 10, 20, 255), (200, 10, 20, 0)])
    picture = read_picture(saved(tmp_path / "p.png", image, icc_profile=SWAPPED))
    expected = as_pixels(np.array([[[20, 10, 200], [255, 255, 255]]], dtype=np.uint8))
    torch.testing.assert_close(picture.pixels, expected, rtol=0, atol=2.01 / 255)
    assert picture.notes == ("transparency was laid over white",)


def test_lab_colours_become_rgb(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.new("LAB", (3, 2), (255, 128, 128))  # the lightest, of no hue
    picture = read_picture(saved(tmp_path / "p.tif", image, icc_profile=profile))
    torch.testing.assert_close(picture.pixels, torch.ones(1, 3, 2, 3), rtol=0, atol=2.01 / 255)
    assert picture.notes == ()


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"this is no profile"),
        ("RGB", icc_profile(lambda whole: whole[:200])),
        ("RGB", ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()),
        ("L", icc_profile()),
        ("1", icc_profile()),
    ],
    ids=["foreign", "cut", "of-xyz", "of-rgb-for-grey", "of-rgb-for-one-bit"],
)
def test_an_unusable_profile_is_noted_and_passed_over(
    mode: str, profile: bytes, tmp_path: Path
) -> None:
    image = Image.fromarray(RGB).convert(mode)
    picture = read_picture(saved(tmp_path / "p.png", image, icc_profile=profile))
    assert torch.equal(picture.pixels, as_pixels(np.asarray(image.convert("RGB"))))
    assert picture.notes == (UNUSABLE,)


def test_a_profile_of_16_bit_grey_is_noted(tmp_path: Path) -> None:
    grey = np.array([[0, 1000, 65535]], dtype=np.uint16)
    path = saved(tmp_path / "p.png", Image.fromarray(grey), icc_profile=icc_profile())
    picture = read_picture(path)
    assert torch.equal(picture.pixels[0, 0], torch.from_numpy(grey.astype(np.float32) / 65535))
    assert picture.notes == ("16-bit grey was read at full precision", UNUSABLE)
