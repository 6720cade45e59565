"""``dcs-tok compress``, ``decompress`` and ``info``: files, folders and standard streams."""

import io
import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from dcs_tok import DCSTok, compress, decompress
from dcs_tok.pictures import read_picture

from .commands import Command, contents
from .picture_files import noise, saved
from .small_codec import save_small_model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return saved(tmp_path / "picture.png", Image.fromarray(noise(23, 31)))


def assert_same_pictures(path: Path, pixels: torch.Tensor) -> None:
    """Rounding to 8 bits may tip over, where sums were taken in another order."""
    torch.testing.assert_close(read_picture(path).pixels, pixels, rtol=0, atol=1.01 / 255)


def test_a_file_holds_what_compress_returns_and_comes_back(
    small: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    out, back = tmp_path / "picture.dcs", tmp_path / "back.png"
    said = command.line("compress", picture, out, "--model", small, "--quality", 40)
    tok = DCSTok.from_pretrained(small)
    pixels = read_picture(picture).pixels
    data = out.read_bytes()
    assert data == compress(pixels, tok, quality=40)
    assert re.fullmatch(
        rf"wrote {re.escape(str(out))}: {len(data)} bytes, {len(data) * 8 / (23 * 31):.3f} bits "
        r"per pixel, quality 40, \d+ x \d+ patches, 3 levels",
        said,
    )
    assert command.line("decompress", out, back, "--model", small) == f"wrote {back}: 31x23"
    assert_same_pictures(back, decompress(data, model=tok))


@pytest.mark.parametrize(
    ("option", "value"), [("--bytes", 700), ("--bpp", 8.0), ("--levels", 1), ("--patches", 4)]
)
def test_options_are_those_of_compress(
    option: str, value: float, small: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "picture.dcs"
    assert command("compress", picture, out, "--model", small, option, value).code == 0
    name = {"--bytes": "max_bytes"}.get(option, option.removeprefix("--"))
    pixels = read_picture(picture).pixels
    expected = compress(pixels, DCSTok.from_pretrained(small), **{name: value})  # type: ignore[arg-type]
    assert out.read_bytes() == expected


def test_levels_size_and_format_are_chosen_when_decoding(
    small: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    out, back = tmp_path / "picture.dcs", tmp_path / "back.bmp"
    command.line("compress", picture, out, "--model", small)
    asked = ("--levels", 1, "--size", "40x30")
    assert command.line("decompress", out, back, "--model", small, *asked).endswith("40x30")
    data = out.read_bytes()
    expected = decompress(data, (30, 40), levels=1, model=DCSTok.from_pretrained(small))
    assert_same_pictures(back, expected)


def test_a_folder_goes_into_a_folder_that_is_made(
    small: Path, command: Command, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.jpg"):
        saved(photos / name, Image.fromarray(noise(12, 9)))
    (photos / "notes.txt").write_text("no picture")
    done = command("compress", photos, tmp_path / "small", "--model", small)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"wrote 2 files to {tmp_path / 'small'}"
    assert sorted(p.name for p in (tmp_path / "small").iterdir()) == ["a.dcs", "b.dcs"]
    done = command(
        "decompress", tmp_path / "small", tmp_path / "back", "--model", small, "--format", "webp"
    )
    assert (done.code, done.err) == (0, "")
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["a.webp", "b.webp"]


def test_what_fails_stops_none_of_the_others(
    small: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:100])
    out = tmp_path / "out"
    done = command("compress", broken, picture, out, "--model", small)
    assert done.code == 2
    assert sorted(p.name for p in out.iterdir()) == ["picture.dcs"]
    first, last = done.err.splitlines()
    assert first.startswith(
        f"dcs-tok: error: {broken}: The input must be a whole picture that Pillow can read"
    )
    assert last == (
        f"dcs-tok: error: All inputs must be usable, but 1 of 2 were not ({broken}). The other 1 "
        f"were written to {out}."
    )


def test_standard_streams_carry_files(
    small: Path,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    from dcs_tok.cli import main

    def piped(data: bytes, *arguments: str) -> bytes:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        capfdbinary.readouterr()
        assert main([*arguments, "--model", str(small)]) == 0
        said = capfdbinary.readouterr()
        assert said.err.startswith(b"dcs-tok: wrote the standard stream: ")
        return said.out

    data = piped(picture.read_bytes(), "compress", "-", "-", "--quality", "30")
    assert data == compress(read_picture(picture).pixels, DCSTok.from_pretrained(small), quality=30)
    png = piped(data, "decompress", "-", "-")
    back = saved(tmp_path / "back.png", Image.open(io.BytesIO(png)))
    assert_same_pictures(back, decompress(data, model=DCSTok.from_pretrained(small)))


def test_info_tells_of_a_file_without_its_model(
    small: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "picture.dcs"
    command.line("compress", picture, out, "--model", small, "--patches", 4, "--quality", 50)
    size = out.stat().st_size
    done = command("info", out)
    first, *levels = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert first.startswith(
        f"{out}: 31x23; {size} bytes, {size * 8 / (23 * 31):.3f} bits per pixel; quality 50, "
        "1 x 4 x 5 patches, levels 3 to 3 (mean 3.00), entropy model "
    )
    assert [line.split(":")[0] for line in levels] == ["  level 1", "  level 2", "  level 3"]
    out.write_bytes(out.read_bytes()[:-1])
    done = command("info", out)
    assert done.out.splitlines()[0].endswith(", cut")
    assert len(done.out.splitlines()) == 3


def test_a_cut_file_is_decoded_with_a_note(
    small: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    out, back = tmp_path / "picture.dcs", tmp_path / "back.png"
    command.line("compress", picture, out, "--model", small, "--quality", 70)
    out.write_bytes(out.read_bytes()[:-1])
    done = command("decompress", out, back, "--model", small)
    assert done.code == 0
    assert done.err == (
        f"dcs-tok: note: {out}: the file was cut: levels 1 to 2 of 3 are whole and decoded\n"
    )
    assert back.exists()


def test_refusals_write_nothing(
    small: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    model = ("--model", small)
    out = tmp_path / "out.dcs"
    assert command.refusal("compress", tmp_path / "none.png", out, *model) == (
        f"A picture must exist, but {tmp_path / 'none.png'} does not. Check the path."
    )
    assert command.refusal("compress", picture, tmp_path / "no" / "out.dcs", *model) == (
        f"The output's folder must exist, but {tmp_path / 'no'} does not. Create it first."
    )
    assert command.refusal("compress", picture, out, *model, "--frames", "0:3") == (
        f"`--frames` is for clips, but {picture} is no clip by its ending. Leave it out."
    )
    assert command.refusal("compress", picture, picture, picture, *model) == (
        f"Several inputs must go into a folder, but {picture} is a file. Name another."
    )
    twin = saved(tmp_path / "picture.jpg", Image.fromarray(noise(4, 4)))
    assert command.refusal("compress", picture, twin, tmp_path / "new", *model) == (
        f"Inputs must have names of their own, but {picture} and {twin} would both be written to "
        f"{tmp_path / 'new' / 'picture.dcs'}. Take them one by one."
    )
    assert command.refusal("compress", picture, "-", tmp_path / "new", *model) == (
        "Standard input must go to a file, but the output is a folder. Name a file in it."
    )
    assert command.refusal("compress", picture, picture, "-", *model) == (
        "Standard output takes one file, but 2 are named. Name a folder."
    )
    assert command.refusal("decompress", picture, tmp_path / "x.png", *model) == (
        "A .dcs file must begin with its signature, but this one does not. It is another kind of "
        "file, or was changed in transfer."
    )
    assert command.refusal("decompress", tmp_path / "no.dcs", tmp_path / "x.png", *model) == (
        f"A .dcs file must exist, but {tmp_path / 'no.dcs'} does not. Check the path."
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert command.refusal("decompress", empty, tmp_path / "new", *model) == (
        f"A folder must hold files of .dcs, but {empty} holds none. Name another."
    )


def test_two_targets_are_misuse(command: Command, picture: Path, tmp_path: Path) -> None:
    said = command.misuse("compress", picture, tmp_path / "x.dcs", "--quality", 4, "--bpp", 0.1)
    assert said == "argument --bpp: not allowed with argument --quality"


def test_the_output_keeps_its_old_content_when_decoding_fails(
    small: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    out, back = tmp_path / "picture.dcs", tmp_path / "back.png"
    command.line("compress", picture, out, "--model", small)
    back.write_bytes(b"old")
    data = bytearray(out.read_bytes())
    data[20] ^= 1
    out.write_bytes(data)
    before = contents(tmp_path)
    assert "the file is damaged" in command.refusal("decompress", out, back, "--model", small)
    assert contents(tmp_path) == before
