"""``dcs-tok demo`` shows one photo at all levels and scales, with the figures beside it."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcs_common import Latents
from dcs_common.geometry import patch_counts
from dcs_common.psnr import psnr
from dcs_tok import DCSTok
from dcs_tok.demo import PHOTO, busiest_window, half_size
from dcs_tok.pictures import read_picture

from .commands import Command, contents, save_tiny_model
from .picture_files import noise, saved, small_photo


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def read_table(path: Path) -> tuple[str, list[tuple[str, str, float]]]:
    """Return the headline and (what, size, dB) of every row of ``demo.md``."""
    headline, _, head, rule, *rows = path.read_text().splitlines()
    assert (head, rule) == ("| what | size | PSNR |", "|---|---|---|")
    found = [re.fullmatch(r"\| (.+) \| (\d+x\d+) \| (inf|\d+\.\d\d) dB \|", row) for row in rows]
    assert all(found)
    return headline, [(match[1], match[2], float(match[3])) for match in found]


def test_the_bundled_model_shows_a_photo(command: Command, tmp_path: Path) -> None:
    photo = small_photo(tmp_path / "photo.png", 33, 34)
    out = tmp_path / "deep" / "folder"
    said = command.line("demo", photo, "--output", out)
    assert said == f"wrote {out / 'demo.png'} and {out / 'demo.md'}"
    assert {path.name for path in contents(out)} == {"demo.png", "demo.md"}
    headline, table = read_table(out / "demo.md")
    tok = DCSTok.from_pretrained()
    assert headline == f"# photo.png through {tok.fingerprint}"
    assert [(what, size) for what, size, _ in table] == [
        *((f"{level} of 8 levels", "34x33") for level in range(1, 9)),
        ("decoded at 0.5x", "17x16"),
        ("decoded at 0.5x, against 1x at the smaller size", "17x16"),
        ("decoded at 1x", "34x33"),
        ("decoded at 2x", "68x66"),
        ("decoded at 2x, against 1x at the smaller size", "34x33"),
        ("decoded at another aspect ratio", "34x16"),
        ("encoded at half the size, decoded at 1x", "34x33"),
        ("encoded at half the size, against encoded at 1x", "34x33"),
    ]
    by_level = [value for _, _, value in table[:8]]
    assert by_level == sorted(set(by_level))
    assert table[10][2] == by_level[-1]
    source = read_picture(photo).pixels
    assert by_level[-1] == pytest.approx(psnr(tok.decode(tok.encode(source)), source), abs=0.006)
    with Image.open(out / "demo.png") as sheet:
        sheet.load()
        assert sheet.mode == "RGB"
        assert sheet.width == 1600


@pytest.mark.parametrize("size", [(6, 7), (13, 34), (23, 12)])
def test_photos_of_every_shape_are_shown(
    size: tuple[int, int], tiny: Path, command: Command, tmp_path: Path
) -> None:
    photo = saved(tmp_path / "photo.png", Image.fromarray(noise(*size)))
    command.line("demo", photo, "--output", tmp_path / "out", "--model", tiny)
    _, table = read_table(tmp_path / "out" / "demo.md")
    assert len(table) == 5 + 8
    assert (tmp_path / "out" / "demo.png").stat().st_size > 0


@pytest.mark.parametrize("size", [(7, 8), (8, 7), (13, 20)])
def test_the_photo_has_one_grid_at_both_sizes(
    size: tuple[int, int],
    tiny: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where halving both sides would give another: 3 x 3 patches, but 3 x 4 for 3 x 4 px."""
    grids = []
    encode = DCSTok.encode

    def watched(self: DCSTok, *arguments: object, **options: object) -> Latents:
        latents = encode(self, *arguments, **options)
        grids.append((latents.size, latents.grid))
        return latents

    monkeypatch.setattr(DCSTok, "encode", watched)
    photo = saved(tmp_path / "photo.png", Image.fromarray(noise(*size)))
    command.line("demo", photo, "--output", tmp_path / "out", "--model", tiny)
    (whole, grid), (half, half_grid) = grids
    assert whole == size
    assert min(half) == min(size) // 2
    assert half_grid == grid


def test_a_second_demo_replaces_the_first(tiny: Path, command: Command, tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png", Image.fromarray(noise(9, 11)))
    arguments = ("demo", photo, "--output", tmp_path / "out", "--model", tiny)
    command.line(*arguments)
    first = contents(tmp_path)
    command.line(*arguments)
    assert contents(tmp_path) == first
    saved(photo, Image.fromarray(noise(9, 11, seed=1)))
    command.line(*arguments)
    second = contents(tmp_path)
    assert set(second) == set(first)
    assert second[tmp_path / "out" / "demo.md"] != first[tmp_path / "out" / "demo.md"]


def test_the_bundled_photo_is_a_picture_worth_showing() -> None:
    picture = read_picture(PHOTO)
    assert min(picture.pixels.shape[2:]) >= 256
    assert picture.notes == ()


@pytest.mark.parametrize("size", [(31, 90), (90, 31)])
def test_a_photo_below_two_pixels_per_patch(
    size: tuple[int, int], command: Command, tmp_path: Path
) -> None:
    photo = saved(tmp_path / "photo.png", Image.fromarray(noise(*size)))
    assert command.refusal("demo", photo, "--output", tmp_path / "out") == (
        "The photo's shorter side must have at least 32 pixels, but has 31. Use a larger photo."
    )


def test_an_output_that_is_a_file(command: Command, tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png", Image.fromarray(noise(33, 35)))
    assert command.refusal("demo", photo, "--output", photo) == (
        f"`--output` must be a folder, but {photo} is a file. Name another."
    )


def test_a_photo_that_is_missing(command: Command, tmp_path: Path) -> None:
    photo = tmp_path / "none.png"
    said = command.refusal("demo", photo, "--output", tmp_path / "out")
    assert said == f"A picture must exist, but {photo} does not. Check the path."


@given(size=st.tuples(st.integers(2, 400), st.integers(2, 400)), patches=st.integers(1, 24))
def test_half_the_size_has_the_same_grid(size: tuple[int, int], patches: int) -> None:
    size = max(size[0], 2 * patches), max(size[1], 2 * patches)
    half = half_size(size, patches)
    grid = patch_counts(size, patches)
    assert patch_counts(half, patches) == grid
    assert min(half) == max(patches, min(size) // 2)
    # The long side is the nearest to half that has this grid.
    short, long, wanted = min(half), max(half), max(max(grid), max(size) // 2)
    distance = abs(long - wanted)
    for nearer in range(max(short, wanted - distance + 1), wanted + distance):
        other = (short, nearer) if size[1] >= size[0] else (nearer, short)
        assert patch_counts(other, patches) != grid


@pytest.mark.parametrize("size", [(32, 48), (64, 64), (512, 768), (96, 34)])
def test_sizes_that_halve_evenly_are_just_halved(size: tuple[int, int]) -> None:
    assert half_size(size, 16) == (size[0] // 2, size[1] // 2)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (13, 29), (30, 48)])
def test_the_busiest_window_finds_the_detail(top: int, left: int) -> None:
    photo = torch.full((1, 3, 50, 80), 0.5)
    photo[:, :, top : top + 20, left : left + 32] = torch.from_numpy(
        np.random.default_rng(0).random((20, 32), dtype=np.float32)
    )
    rows, columns = busiest_window(photo)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (20, 32)
    assert abs(rows.start - top) <= 1
    assert abs(columns.start - left) <= 1
