"""The codecs of today: whole files, smaller at lower settings, found by their names."""

import pytest
import torch
from PIL import features

from dcs_common import PictureCodec, find_codec, psnr
from dcs_eval import rivals

from .conftest import photograph
from .errors import error

NAMES = ("avif", "jpeg", "jpeg2000", "jpeg2000-rgb", "webp")


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_comes_back_in_its_size_and_closer_in_a_larger_file(name: str) -> None:
    codec = find_codec(name)
    assert isinstance(codec, PictureCodec)
    assert list(codec.settings) == sorted(set(codec.settings))
    picture = photograph(0, 131, 157)
    files = [
        codec.compress(picture, setting) for setting in codec.settings[:: len(codec.settings) - 1]
    ]
    small, large = (codec.decompress(data) for data in files)
    assert len(files[0]) < len(files[1])
    assert small.shape == large.shape == picture.shape
    assert psnr(small, picture) + 3 < psnr(large, picture)


@pytest.mark.parametrize("name", NAMES)
def test_compressing_leaves_the_picture_alone_and_repeats(name: str) -> None:
    codec, picture = find_codec(name), photograph()
    before = picture.clone()
    first = codec.compress(picture, codec.settings[2])
    assert codec.compress(picture, codec.settings[2]) == first
    assert torch.equal(picture, before)


def test_settings_of_jpeg_2000_are_bits_per_pixel() -> None:
    data = rivals.jpeg2000().compress(photograph(0, 128, 192), 1.0)
    assert 0.85 < 8 * len(data) / (128 * 192) < 1.05


def test_the_colour_transform_pays_where_colours_go_together() -> None:
    grey = photograph(0, 128, 192).mean(1, keepdim=True).expand(1, 3, -1, -1)
    best, plain = (
        psnr(codec.decompress(codec.compress(grey, 0.5)), grey)
        for codec in (rivals.jpeg2000(), rivals.jpeg2000_rgb())
    )
    assert best > plain + 1


def test_the_record_can_say_what_decided_the_bytes() -> None:
    found = rivals.webp().version
    assert found == f"webp {features.version('webp')}, method=6"


def test_a_pillow_without_the_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    assert rivals.jpeg().name == "JPEG"
    with error(
        "AVIF needs a Pillow with avif, but this one is without. "
        "Install Pillow from its wheel, or leave this codec out."
    ):
        rivals.avif()
