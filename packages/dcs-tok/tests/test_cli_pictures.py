"""``dcs-tok encode`` and ``decode`` of pictures do what the Python calls do."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from dcs_common import Latents
from dcs_common.psnr import psnr
from dcs_tok import DCSTok
from dcs_tok.pictures import read_picture

from .commands import Command, contents, save_tiny_model
from .picture_files import noise, saved, small_photo


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return saved(tmp_path / "picture.png", Image.fromarray(noise(31, 53)))


def assert_same_pictures(path: Path, pixels: Tensor) -> None:
    """Rounding to 8 bits may tip over, where sums were taken in another order."""
    torch.testing.assert_close(read_picture(path).pixels, pixels, rtol=0, atol=0.51 / 255)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((3, 5), (3, 5)), ((17, 16), (3, 3)), ((31, 53), (3, 5)), ((97, 19), (15, 3))],
)
def test_encode_writes_what_the_model_encodes(
    size: tuple[int, int], grid: tuple[int, int], tiny: Path, command: Command, tmp_path: Path
) -> None:
    picture = saved(tmp_path / "picture.png", Image.fromarray(noise(*size)))
    out = tmp_path / "latents"
    said = command.line("encode", picture, out, "--model", tiny)
    assert said == (
        f"wrote {out}: 1 x {grid[0]} x {grid[1]} patches, 5 levels of 7 channels, "
        f"{out.stat().st_size} bytes"
    )
    assert set(contents(tmp_path)) == {picture, out}
    latents = Latents.load(out)
    expected = DCSTok.from_pretrained(tiny).encode(read_picture(picture).pixels)
    torch.testing.assert_close(latents.tokens, expected.tokens, rtol=0, atol=1e-5)
    assert (latents.size, latents.fps, latents.frames) == (size, None, 1)
    assert latents.tokenizer == expected.tokenizer is not None


def test_encode_computes_the_asked_levels_and_patches(
    tiny: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "latents"
    options = ("--levels", 2, "--patches", 4)
    said = command.line("encode", picture, out, "--model", tiny, *options)
    assert said.startswith(f"wrote {out}: 1 x 4 x 7 patches, 2 levels of 7 channels, ")
    latents = Latents.load(out)
    expected = DCSTok.from_pretrained(tiny).encode(read_picture(picture).pixels, None, 2, 4)
    torch.testing.assert_close(latents.tokens, expected.tokens, rtol=0, atol=1e-5)


def test_encode_says_what_it_did_to_a_picture(tiny: Path, command: Command, tmp_path: Path) -> None:
    image = Image.fromarray(noise(16, 16)).convert("LA")
    image.putalpha(100)
    picture = saved(tmp_path / "picture.png", image)
    finished = command("encode", picture, tmp_path / "latents", "--model", tiny)
    assert finished.code == 0
    assert finished.err == "dcs-tok: note: transparency was laid over white\n"
    assert finished.out.startswith("wrote ")


def test_the_memory_ceiling_reaches_the_model_and_changes_nothing(
    tiny: Path, command: Command, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings = []
    encode = DCSTok.encode

    def watched(self: DCSTok, *arguments: object) -> Latents:
        ceilings.append(self.max_memory)
        return encode(self, *arguments)

    monkeypatch.setattr(DCSTok, "encode", watched)
    for name, options in (("default", ()), ("small", ("--max-memory", "1K"))):
        command.line("encode", picture, tmp_path / name, "--model", tiny, *options)
    assert ceilings == [None, 1024]
    default, small = (Latents.load(tmp_path / name).tokens for name in ("default", "small"))
    torch.testing.assert_close(small, default, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "call", "shown"),
    [
        ((), lambda tok, latents: tok.decode(latents), "53x31 from 5 levels"),
        (
            ("--size", "40x90"),
            lambda tok, latents: tok.decode(latents, (90, 40)),
            "40x90 from 5 levels",
        ),
        (("--size", "5x3"), lambda tok, latents: tok.decode(latents, (3, 5)), "5x3 from 5 levels"),
        (
            ("--levels", "2"),
            lambda tok, latents: tok.decode(latents, levels=2),
            "53x31 from 2 levels",
        ),
        (
            ("--levels", "1", "--size", "64x64"),
            lambda tok, latents: tok.decode(latents, (64, 64), levels=1),
            "64x64 from 1 levels",
        ),
    ],
)
@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_decode_writes_what_the_model_decodes(
    ending: str,
    options: tuple[str, ...],
    call: Callable[[DCSTok, Latents], Tensor],
    shown: str,
    tiny: Path,
    command: Command,
    picture: Path,
    tmp_path: Path,
) -> None:
    tok = DCSTok.from_pretrained(tiny)
    latents = tok.encode(read_picture(picture).pixels)
    latents.save(tmp_path / "latents")
    out = tmp_path / f"out{ending}"
    said = command.line("decode", tmp_path / "latents", out, "--model", tiny, *options)
    assert said == f"wrote {out}: {shown}, {out.stat().st_size} bytes"
    assert_same_pictures(out, call(tok, latents))


def test_decode_says_how_many_levels_there_were(
    tiny: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    """A map may hold fewer levels than the file has room for, and than are asked for."""
    tok = DCSTok.from_pretrained(tiny)
    latents = tok.encode(read_picture(picture).pixels)
    sparse = Latents(tokens=latents.tokens, levels=latents.levels.clamp(max=3), size=latents.size)
    sparse.save(tmp_path / "latents")
    out = tmp_path / "out.png"
    for options in ((), ("--levels", 5), ("--levels", 4)):
        said = command.line("decode", tmp_path / "latents", out, "--model", tiny, *options)
        assert said == f"wrote {out}: 53x31 from 3 levels, {out.stat().st_size} bytes"


def test_the_same_command_writes_the_same_file_whatever_ran_before(
    tiny: Path, command: Command, picture: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    command.line("encode", picture, first, "--model", tiny)
    torch.manual_seed(99)
    command.line("encode", picture, second, "--model", tiny, "--seed", 5)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("size", [(17, 16), (33, 40)])
def test_the_bundled_model_rebuilds_a_photo(
    size: tuple[int, int], command: Command, tmp_path: Path
) -> None:
    photo = small_photo(tmp_path / "photo.png", *size)
    latents, out = tmp_path / "latents", tmp_path / "out.png"
    said = command.line("encode", photo, latents)
    rows, columns = Latents.load(latents).grid[1:]
    assert min(rows, columns) == 16
    assert said.startswith(f"wrote {latents}: 1 x {rows} x {columns} patches, 8 levels of 16 ")
    source = read_picture(photo).pixels
    quality = []
    for levels in (1, 8):
        command.line("decode", latents, out, "--levels", levels)
        quality.append(psnr(read_picture(out).pixels, source))
    if min(size) == 16:  # one level holds the few pixels of a patch
        assert min(quality) > 45
    else:
        assert quality[0] + 3 < quality[1]
