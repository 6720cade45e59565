"""What is no whole picture, or cannot be written, is refused with one error."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcs_tok.pictures import check_picture_path, read_picture, write_picture

from .commands import contents
from .errors import error
from .picture_files import as_pixels, encoded, noise, saved

HEIGHT, WIDTH = 13, 17
FILES = {
    kind: encoded(Image.fromarray(noise(HEIGHT, WIDTH)), kind, **options)
    for kind, options in {
        "PNG": {},
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 95},
        "TIFF": {},
        "BMP": {},
        "GIF": {},
        "PPM": {},
    }.items()
}


def unreadable(path: Path, reason: str) -> str:
    """The message about a file that is no whole picture; ``reason`` is Pillow's, a pattern."""
    before = f"The input must be a whole picture that Pillow can read, but {path} is not ("
    after = "). Convert it, or check that it was copied completely."
    return f"^{re.escape(before)}{reason}{re.escape(after)}$"


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    with error(f"A picture must exist, but {path} does not. Check the path."):
        read_picture(path)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=unreadable(tmp_path, ".*directory.*")):
        read_picture(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0", b"a text, by its name a picture\n" * 30])
def test_what_is_no_picture(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=unreadable(path, "cannot identify image file .*")):
        read_picture(path)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_anywhere_is_refused_or_still_whole(
    kind: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "cut"
    path.write_bytes(FILES[kind])
    whole = read_picture(path).pixels
    refused = 0
    for length in range(0, len(FILES[kind]), 7):
        path.write_bytes(FILES[kind][:length])
        try:
            found = read_picture(path).pixels
        except ValueError as problem:
            assert re.fullmatch(unreadable(path, "(?s:.+)"), str(problem))
            refused += 1
        else:
            assert torch.equal(found, whole)
    assert refused > 0.9 * len(FILES[kind]) / 7
    assert not recwarn.list


@given(
    kind=st.sampled_from(sorted(FILES)),
    damage=st.dictionaries(st.integers(0, 10_000), st.integers(0, 255), min_size=1, max_size=9),
)
def test_a_damaged_file_is_a_picture_or_refused(
    kind: str, damage: dict[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(FILES[kind])
    for place, value in damage.items():
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    try:
        pixels = read_picture(path).pixels
    except ValueError as problem:
        assert str(path) in str(problem)
    else:
        assert pixels.shape[:2] == (1, 3)
        assert 0 <= pixels.min() <= pixels.max() <= 1


@pytest.mark.parametrize("problem", [RuntimeError, EOFError, KeyError, TypeError, SyntaxError])
def test_whatever_a_plugin_of_pillow_raises_is_one_error(
    problem: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Image.Image) -> None:
        raise problem("odd bytes")

    path = saved(tmp_path / "p.png", Image.fromarray(noise(3, 5)))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(ValueError, match=unreadable(path, "'?odd bytes'?")):
        read_picture(path)


def test_floating_point_pixels(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    Image.fromarray(np.ones((3, 5), dtype=np.float32)).save(path)
    reason = "floating-point pixels have no agreed range"
    with pytest.raises(ValueError, match=unreadable(path, reason)):
        read_picture(path)


def test_an_absurd_size_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "p.png", Image.fromarray(noise(HEIGHT, WIDTH)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", (HEIGHT * WIDTH - 1) // 2)
    message = f"A picture must have a sane number of pixels, but {path} has not ("
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}.*221 pixels.*\)\.$"):
        read_picture(path)


def test_a_large_size_is_read_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    path = saved(tmp_path / "p.png", Image.fromarray(noise(HEIGHT, WIDTH)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    picture = read_picture(path)
    assert torch.equal(picture.pixels, as_pixels(noise(HEIGHT, WIDTH)))
    assert picture.notes == ()
    assert not recwarn.list


@pytest.mark.parametrize("name", ["picture", "picture.gif", "picture.mp4", ".png", "png"])
def test_an_unknown_ending(name: str, tmp_path: Path) -> None:
    message = (
        "A picture's name must end in one of .png, .webp, .jpg, .jpeg, .tif, .tiff, .bmp, but "
        f"is {name!r}."
    )
    for attempt in (check_picture_path, lambda path: write_picture(path, torch.zeros(3, 2, 2))):
        with error(message):
            attempt(tmp_path / name)
    assert contents(tmp_path) == {}


def test_a_missing_folder(tmp_path: Path) -> None:
    message = f"The output's folder must exist, but {tmp_path / 'none'} does not. Create it first."
    for attempt in (check_picture_path, lambda path: write_picture(path, torch.zeros(3, 2, 2))):
        with error(message):
            attempt(tmp_path / "none" / "p.png")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("step", ["PIL.Image.Image.save", "os.fsync", "os.replace"])
def test_a_failed_write_leaves_the_old_picture_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.png"
    write_picture(path, as_pixels(noise(3, 5))[0])
    before = contents(tmp_path)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_picture(path, as_pixels(noise(3, 5, seed=1))[0])
    assert contents(tmp_path) == before
