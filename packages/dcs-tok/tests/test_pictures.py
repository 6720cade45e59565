"""Pictures of every mode become upright RGB in [0, 1], and notes tell what was interpreted."""

import struct
from pathlib import Path
from zlib import compress, crc32

import numpy as np
import pytest
import torch
from PIL import Image

from dcs_common.psnr import psnr
from dcs_tok.pictures import read_picture, to_image, write_picture

from .picture_files import as_pixels, noise, saved, small_photo

OVER_WHITE = ("transparency was laid over white",)


@pytest.mark.parametrize("size", [(1, 1), (13, 7), (3, 41)])
@pytest.mark.parametrize("ending", [".png", ".webp", ".tif", ".tiff", ".bmp", ".PNG"])
def test_lossless_files_return_every_8_bit_value(
    ending: str, size: tuple[int, int], tmp_path: Path
) -> None:
    pixels = as_pixels(noise(*size))
    write_picture(tmp_path / f"picture{ending}", pixels[0])
    picture = read_picture(tmp_path / f"picture{ending}")
    assert torch.equal(picture.pixels, pixels)
    assert picture.pixels.is_contiguous()
    assert picture.notes == ()


@pytest.mark.parametrize("ending", [".jpg", ".jpeg"])
def test_jpeg_files_come_close(ending: str, tmp_path: Path) -> None:
    photo = read_picture(small_photo(tmp_path / "photo.png", 61, 89)).pixels
    write_picture(tmp_path / f"picture{ending}", photo[0])
    assert psnr(read_picture(tmp_path / f"picture{ending}").pixels, photo) > 30


def test_written_values_are_rounded_and_clamped() -> None:
    values = torch.tensor([-0.2, 0.0, 0.49 / 255, 0.51 / 255, 127.4 / 255, 254.6 / 255, 1.0, 1.7])
    written = np.asarray(to_image(values.expand(3, 1, -1)))
    assert written[0, :, 0].tolist() == [0, 0, 0, 1, 127, 255, 255, 255]
    assert np.array_equal(written[..., 0], written[..., 2])


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),  # turned clockwise
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],  # turned the other way
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
def test_exif_orientation_is_applied(orientation: int, ending: str, tmp_path: Path) -> None:
    stored = noise(5, 7)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if ending == ".webp" else {}
    path = tmp_path / f"p{ending}"
    picture = read_picture(saved(path, Image.fromarray(stored), exif=exif, **options))
    assert torch.equal(picture.pixels, as_pixels(UPRIGHT[orientation](stored)))
    assert picture.notes == ()


def test_damaged_exif_data_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    entry_missing = b"Exif\0\0II*\0\x08\0\0\0\x01\0"
    saved(path, Image.fromarray(noise(5, 7)), exif=entry_missing)
    picture = read_picture(path)
    assert picture.pixels.shape == (1, 3, 5, 7)
    assert len(picture.notes) == 1
    assert picture.notes[0].startswith("Corrupt EXIF data.")


@pytest.mark.parametrize("mode", ["P", "L", "1", "RGBA", "LA"])
def test_opaque_pictures_of_other_modes_are_read_as_they_look(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(noise(5, 7)).convert(mode)
    picture = read_picture(saved(tmp_path / "p.png", image))
    assert torch.equal(picture.pixels, as_pixels(np.asarray(image.convert("RGB"))))
    assert picture.pixels.std() > 0.1
    assert picture.notes == ()


def test_alpha_mixes_the_picture_with_white(tmp_path: Path) -> None:
    rgb, alpha = noise(5, 7), noise(5, 7, seed=1)[..., :1]
    rgba = Image.fromarray(np.concatenate([rgb, alpha], axis=2))
    picture = read_picture(saved(tmp_path / "p.png", rgba))
    share = as_pixels(alpha.repeat(3, axis=2))
    expected = share * as_pixels(rgb) + (1 - share)
    torch.testing.assert_close(picture.pixels, expected, rtol=0, atol=1.01 / 255)
    assert picture.notes == OVER_WHITE


def test_grey_with_alpha_mixes_with_white(tmp_path: Path) -> None:
    grey = np.array([[[0, 0], [0, 255], [200, 51]]], dtype=np.uint8)  # 51 is a fifth of 255
    picture = read_picture(saved(tmp_path / "p.png", Image.fromarray(grey)))
    expected = as_pixels(np.array([[[255], [0], [244]]], dtype=np.uint8).repeat(3, axis=2))
    assert torch.equal(picture.pixels, expected)
    assert picture.notes == OVER_WHITE


def test_a_transparent_palette_entry_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([200, 10, 20, 30, 40, 50])
    image.putdata([0, 1, 0])
    picture = read_picture(saved(tmp_path / "p.png", image, transparency=0))
    white, ink = [255, 255, 255], [30, 40, 50]
    assert torch.equal(picture.pixels, as_pixels(np.array([[white, ink, white]], dtype=np.uint8)))
    assert picture.notes == OVER_WHITE


def test_a_transparent_colour_becomes_white(tmp_path: Path) -> None:
    rgb = np.array([[[9, 8, 7], [1, 2, 3]]], dtype=np.uint8)
    picture = read_picture(saved(tmp_path / "p.png", Image.fromarray(rgb), transparency=(9, 8, 7)))
    expected = np.array([[[255, 255, 255], [1, 2, 3]]], dtype=np.uint8)
    assert torch.equal(picture.pixels, as_pixels(expected))
    assert picture.notes == OVER_WHITE


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bit_grey_keeps_all_its_bits(ending: str, tmp_path: Path) -> None:
    grey = np.array([[0, 1, 257], [1000, 65534, 65535]], dtype=np.uint16)
    picture = read_picture(saved(tmp_path / f"p{ending}", Image.fromarray(grey)))
    expected = torch.from_numpy(grey.astype(np.float32) / 65535).expand(1, 3, 2, 3)
    assert torch.equal(picture.pixels, expected)
    assert picture.notes == ("16-bit grey was read at full precision",)


@pytest.mark.parametrize(
    ("ink", "rgb"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 0, 0), (255, 0, 255)),
        ((0, 0, 255, 0), (255, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 0, 155), (100, 100, 100)),
    ],
)
def test_printing_inks_become_light(
    ink: tuple[int, ...], rgb: tuple[int, ...], tmp_path: Path
) -> None:
    image = Image.new("CMYK", (3, 2), ink)
    picture = read_picture(saved(tmp_path / "p.tif", image))
    expected = as_pixels(np.array(rgb, dtype=np.uint8)[None, None]).expand(1, 3, 2, 3)
    assert torch.equal(picture.pixels, expected)
    assert picture.notes == ("CMYK was converted to RGB",)


def test_16_bit_colour_is_read_in_8_bits_and_said(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(">6H", *([256 * value + 7] * 6)) for value in (9, 200))
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", 2, 2, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", compress(rows))
        + chunk(b"IEND", b"")
    )
    picture = read_picture(path)
    assert picture.notes == ("16-bit colour was reduced to 8 bits",)
    expected = torch.tensor([9.0, 200.0])[:, None].expand(1, 3, 2, 2) / 255
    assert torch.equal(picture.pixels, expected)


def test_only_the_first_picture_of_a_file_is_read(tmp_path: Path) -> None:
    first, second = Image.fromarray(noise(5, 7)), Image.fromarray(noise(5, 7, seed=1))
    path = saved(tmp_path / "p.tif", first, save_all=True, append_images=[second])
    picture = read_picture(path)
    assert torch.equal(picture.pixels, as_pixels(noise(5, 7)))
    assert picture.notes == ("of several frames the first was taken",)
