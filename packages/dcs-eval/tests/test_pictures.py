"""Which pictures are taken, under which names, and which are refused."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from dcs_eval.eight_bit import to_image
from dcs_eval.pictures import find_pictures, read_picture, spread

from .conftest import photograph
from .errors import error


def test_folders_give_their_pictures_in_order(folder: Path, tmp_path: Path) -> None:
    (folder / ".hidden.png").write_bytes(b"")
    other = tmp_path / "another.webp"
    to_image(photograph()).save(other, lossless=True)
    found = find_pictures([other, folder])
    assert found == {
        "another": other,
        "first": folder / "first.png",
        "second": folder / "second.png",
    }
    assert torch.equal(read_picture(other), photograph())
    assert list(find_pictures([other, folder], 2)) == ["another", "first"]


def test_some_are_spread_over_all() -> None:
    names = [f"{index:02}" for index in range(24)]
    assert spread(names, 4) == ["00", "06", "12", "18"]
    assert spread(names, 99) == names
    assert spread(names, 0) == []


def test_pictures_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    to_image(photograph(0, 31, 47)).save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png").shape == (1, 3, 47, 31)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_grey_and_palettes_become_rgb(mode: str, tmp_path: Path) -> None:
    image = to_image(photograph()).convert(mode)
    image.save(tmp_path / "a.png")
    assert torch.equal(
        (read_picture(tmp_path / "a.png") * 255).round().to(torch.uint8)[0],
        torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
        .view(61, 83, 3)
        .permute(2, 0, 1),
    )


@pytest.mark.parametrize(
    ("mode", "what"), [("RGBA", "RGBA"), ("LA", "LA"), ("I;16", "I;16"), ("1", "1")]
)
def test_what_needs_a_decision_is_refused(mode: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new(mode, (13, 11)).save(path)
    with error(
        f"Pictures must have 8 bits and no transparency, but {path} is {what}. Convert it to RGB."
    ):
        read_picture(path)


def test_a_transparent_colour_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("P", (13, 11)).save(path, transparency=0)
    with error(
        f"Pictures must have 8 bits and no transparency, but {path} is P with transparency. "
        "Convert it to RGB."
    ):
        read_picture(path)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tiff"])
def test_several_frames_are_no_picture(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    first, *others = (Image.new("RGB", (13, 11), (9, 99 * n, 9)) for n in range(3))
    first.save(path, save_all=True, append_images=others, duration=40)
    with error(
        f"Pictures must hold one frame, but {path} holds 3. Take the frame that you mean out of "
        "it, or evaluate clips."
    ):
        read_picture(path)


def test_the_first_picture_of_a_cameras_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    first, second = to_image(photograph()), Image.new("RGB", (13, 11))
    first.save(path, "MPO", save_all=True, append_images=[second])
    assert read_picture(path).shape == (1, 3, 61, 83)


def test_missing_and_damaged_files(folder: Path, tmp_path: Path) -> None:
    with error(f"A picture must exist, but {folder / 'x.png'} does not. Check the path."):
        read_picture(folder / "x.png")
    cut = folder / "first.png"
    cut.write_bytes(cut.read_bytes()[:999])
    with pytest.raises(ValueError) as caught:
        read_picture(cut)
    said = str(caught.value)
    assert said.startswith(
        f"The input must be a whole picture that Pillow can read, but {cut} is not ("
    )
    assert said.endswith("). Convert it, or check that it was copied completely.")


def test_an_empty_folder(tmp_path: Path) -> None:
    with error(f"The folder must hold pictures, but {tmp_path} holds none."):
        find_pictures([tmp_path])


def test_names_must_differ(folder: Path) -> None:
    twin = folder / "first.jpg"
    to_image(photograph()).save(twin)
    with error(
        f"Each picture must have a name of its own, but {twin} and {folder / 'first.png'} "
        "have the same. Rename one."
    ):
        find_pictures([folder])
