"""``dcs-tok fit-linear`` fits linear codes to photos and clips; here on a small canonical patch."""

import re
import sys
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dcs_common.geometry import source_grid
from dcs_tok import klt
from dcs_tok.canonical_patch import to_canonical
from dcs_tok.clips import read_clip
from dcs_tok.config import PRESETS
from dcs_tok.linear_path import LinearPath
from dcs_tok.patch_moments import ClipSource, picture_moments
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training.initialise import initialise

from .clip_files import clip_file, sound_file
from .commands import Command, contents
from .errors import error
from .picture_files import noise, saved, small_photo

FRAMES, GRID = 2, 7  # 8 levels of 16 coefficients need at least 7 x 7 x 3 values


@pytest.fixture(autouse=True)
def small_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(klt.fit_linear_path, frames=FRAMES, grid=GRID)
    for name in PRESETS:
        if name.startswith("dcs-tok-nano"):
            preset = PRESETS[name]()
            canonical = replace(preset.canonical, frames=FRAMES, grid=GRID, cell=1)
            shrunk = replace(preset, canonical=canonical)
            monkeypatch.setitem(klt.PRESETS, name, lambda shrunk=shrunk: shrunk)
    monkeypatch.setattr(klt, "fit_linear_path", small)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate([(67, 101), (96, 64), (71, 71)]):
        small_photo(folder / f"{i}.png", *size)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return clip_file(tmp_path / "clip.mp4", 24, 37, 50, 24)


def test_a_linear_path_is_fitted_to_photos_and_clips(
    command: Command, photos: Path, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "linear.safetensors"
    before = contents(tmp_path)
    said = command.line("fit-linear", out, "--photos", photos, "--clips", clip, f"{clip}@0:12")
    assert said == f"wrote {out}: a linear path of 6 tensors"
    assert set(contents(tmp_path)) == {*before, out}
    path = LinearPath(8, 16, FRAMES, GRID)
    path.load_state_dict(load_file(out), strict=True)
    for code in (path.still, path.moving):
        encode, decode = (
            weight.detach().flatten(0, 1).flatten(1)
            for weight in (code.encode_weight, code.decode_weight)
        )
        torch.testing.assert_close(encode @ decode.T, torch.eye(128), rtol=0, atol=1e-4)
        assert 0 < code.mean.min() < code.mean.max() < 1
    moments = picture_moments([photos], patches=16, grid=GRID)
    codes = path.still.encode_weight.detach().double().flatten(0, 1).flatten(1)
    variances = (
        codes @ moments.about(path.still.mean.detach().double().flatten()) @ codes.T
    ).diag()
    by_level = variances.view(8, 16).sum(dim=1)
    assert torch.equal(by_level, by_level.sort(descending=True).values)
    assert by_level[0] > 0.8 * by_level.sum()


def test_the_moving_code_rebuilds_the_clip_that_it_was_fitted_to(photos: Path, clip: Path) -> None:
    path = LinearPath(8, 16, FRAMES, GRID)
    path.load_state_dict(klt.fit_linear_path([photos], [ClipSource(clip)]), strict=True)
    fps, pixels = 24, read_clip(clip).pixels.float()
    grid = source_grid((37, 50), 24, Fraction(fps), patches=16, segments_per_second=6)
    errors = torch.zeros(8)
    with torch.no_grad():
        for group in grid.groups:
            patches = grid.take(pixels, group)[0]
            canonical = to_canonical(patches, group.times, FRAMES, GRID)
            latents = path.encode(canonical, 8)
            asked = tuple(Fraction(i + 1, FRAMES) for i in range(FRAMES))
            for level in range(8):
                rebuilt = path.decode(latents[:, : level + 1], asked, is_still=False)
                errors[level] += (rebuilt - canonical).square().sum() / pixels.numel()
    assert torch.equal(errors, errors.sort(descending=True).values)
    assert errors[0] < 0.02 * pixels.var()
    assert errors[-1] < 0.1 * errors[0]


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("dcs-tok-nano-dcs", 8),
        *((f"dcs-tok-nano-{name}", 1) for name in ("vanilla", "fixed", "kl")),
    ],
)
def test_every_rival_has_a_linear_path_of_its_own(
    name: str, levels: int, command: Command, photos: Path, tmp_path: Path
) -> None:
    """From photos alone: the moving code then sees frames that repeat, and so do its vectors."""
    out = tmp_path / "linear.safetensors"
    command.line("fit-linear", out, "--photos", photos, "--model", name)
    path = LinearPath(levels, 16, FRAMES, GRID)
    path.load_state_dict(load_file(out), strict=True)
    moving = path.moving.decode_weight.detach()[:1]
    torch.testing.assert_close(moving[:, :, 0], moving[:, :, 1], rtol=0, atol=1e-5)
    assert initialise(DCSTok(PRESETS[name]()), out) == f"started from the linear path {out}"


def test_fixed_patches_are_fitted_to_patches_of_their_size(photos: Path) -> None:
    """Pictures of 64, 67 and 71 px in patches of 7 px: k is 9, 10 and 10."""
    found = picture_moments([photos], patch_pixels=7, grid=GRID, max_patches=10**6)
    ninth, tenth = (
        picture_moments([photos / name], patches=k, grid=GRID, max_patches=10**6)
        for name, k in (("1.png", 9), ("0.png", 10))
    )
    third = picture_moments([photos / "2.png"], patches=10, grid=GRID, max_patches=10**6)
    parts = (ninth, tenth, third)
    torch.testing.assert_close(found.total, sum(part.total for part in parts))
    assert found.weight == pytest.approx(sum(part.weight for part in parts))


def test_a_vanilla_path_is_that_of_patches_of_16_pixels(
    command: Command, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "linear.safetensors"
    command.line("fit-linear", out, "--photos", photos, "--model", "dcs-tok-nano-vanilla")
    moments = picture_moments([photos], patch_pixels=16, grid=GRID)
    expected = klt.karhunen_loeve([(moments, 1.0)], frames=1, levels=1)
    found = load_file(out)
    for key, value in expected.items():
        torch.testing.assert_close(found[f"still.{key}"], value)


@pytest.mark.parametrize("given", [{}, {"patches": 3, "patch_pixels": 4}])
def test_patches_are_counted_or_measured(given: dict[str, int]) -> None:
    message = (
        "One of `patches` and `patch_pixels` must be given, but they are "
        f"{given.get('patches')} and {given.get('patch_pixels')}. Leave the other out."
    )
    with error(message):
        picture_moments([], grid=GRID, **given)


def test_photos_may_come_in_a_zip(
    command: Command, photos: Path, clip: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "photos.zip"
    with ZipFile(archive, "w") as file:
        for path in sorted(photos.iterdir()):
            file.write(path, path.name)
    arguments = ("--clips", clip, "--photos")
    command.line("fit-linear", tmp_path / "folder.st", *arguments, photos)
    command.line("fit-linear", tmp_path / "zip.st", *arguments, archive)
    assert (tmp_path / "folder.st").read_bytes() == (tmp_path / "zip.st").read_bytes()


def test_outputs_that_cannot_be_files(
    command: Command, photos: Path, clip: Path, tmp_path: Path
) -> None:
    arguments = ("--photos", photos, "--clips", clip)
    assert command.refusal("fit-linear", tmp_path, *arguments) == (
        f"The output must be a file, but {tmp_path} is a folder. Name a file in it."
    )
    assert command.refusal("fit-linear", tmp_path / "none" / "out", *arguments) == (
        f"The output's folder must exist, but {tmp_path / 'none'} does not. Create it first."
    )


@pytest.mark.parametrize("name", ["none", "none.png", "none.zip", "clip.mp4"])
def test_sources_of_photos_that_are_none(
    name: str, command: Command, clip: Path, tmp_path: Path
) -> None:
    source = tmp_path / name
    assert command.refusal("fit-linear", tmp_path / "out", "--photos", source, "--clips", clip) == (
        "Every source must be a folder, a zip or one of .bmp, .jpeg, .jpg, .png, .ppm, .webp, but "
        f"is {str(source)!r}. Name existing ones."
    )


def test_a_folder_without_photos(command: Command, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert command.refusal("fit-linear", tmp_path / "out", "--photos", folder, "--clips", clip) == (
        f"The sources must hold a picture, but {[str(folder)]} hold none of .bmp, .jpeg, .jpg, "
        ".png, .ppm, .webp. Name others."
    )


def test_a_photo_that_cannot_be_read(
    command: Command, photos: Path, clip: Path, tmp_path: Path
) -> None:
    bad = photos / "2.png"
    bad.write_bytes(bad.read_bytes()[:900])
    said = command.refusal("fit-linear", tmp_path / "out", "--photos", photos, "--clips", clip)
    begin = f"Every picture must be readable, but {str(bad)!r} is not: "
    assert re.fullmatch(f"{re.escape(begin)}.+{re.escape('. Remove it.')}", said)


def test_a_zip_that_is_none(command: Command, clip: Path, tmp_path: Path) -> None:
    bad = tmp_path / "photos.zip"
    bad.write_text("a text, by its name a zip")
    assert command.refusal("fit-linear", tmp_path / "out", "--photos", bad, "--clips", clip) == (
        f"Every zip must be whole, but {str(bad)!r} is not: File is not a zip file. Copy it again."
    )


def test_a_photo_too_small_for_the_finest_grid(
    command: Command, clip: Path, tmp_path: Path
) -> None:
    small = saved(tmp_path / "small.png", Image.fromarray(noise(40, 50)))
    assert command.refusal("fit-linear", tmp_path / "out", "--photos", small, "--clips", clip) == (
        "The shorter side must have at least one pixel per patch, but 50x40 has 40 pixels for 48 "
        "patches. Enlarge the picture or lower `patches`."
    )


def test_a_missing_clip(command: Command, photos: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.mp4"
    said = command.refusal("fit-linear", tmp_path / "out", "--photos", photos, "--clips", missing)
    begin = f"Every clip must be readable, but {str(missing)!r} is not: "
    assert re.fullmatch(f"{re.escape(begin)}.+{re.escape('. Name another.')}", said)


def test_a_clip_without_video(command: Command, photos: Path, tmp_path: Path) -> None:
    sound = sound_file(tmp_path / "sound.mkv")
    said = command.refusal("fit-linear", tmp_path / "out", "--photos", photos, "--clips", sound)
    assert said == f"A clip must hold a video stream, but {str(sound)!r} holds none. Name another."


def test_a_range_without_frames(command: Command, photos: Path, clip: Path, tmp_path: Path) -> None:
    source = f"{clip}@50:60"
    said = command.refusal("fit-linear", tmp_path / "out", "--photos", photos, "--clips", source)
    assert said == (
        f"The clips must hold frames, but {[str(clip)]} hold none in the ranges that are asked "
        "for. Give other ranges."
    )


def test_clips_need_pyav(
    command: Command, photos: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    said = command.refusal("fit-linear", tmp_path / "out", "--photos", photos, "--clips", clip)
    assert said == (
        "Clips need PyAV, but it is not installed. Install it with `pip install 'dcs-tok[video]'`."
    )
