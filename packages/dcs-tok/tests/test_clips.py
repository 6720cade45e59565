"""Clips come back with every frame, at their size and exact rate."""

from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from dcs_common.geometry import Rate
from dcs_common.psnr import psnr
from dcs_tok.clips import check_clip_path, is_clip, read_clip, write_clip

from .clip_files import clip_file, flat_greys, moving_bars
from .commands import contents


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("size", [(16, 26), (17, 26), (16, 29), (31, 19), (1, 1), (2, 1)])
def test_a_clip_of_any_size_comes_back(ending: str, size: tuple[int, int], tmp_path: Path) -> None:
    pixels = moving_bars(7, *size)
    write_clip(tmp_path / f"clip{ending}", pixels, 24)
    clip = read_clip(tmp_path / f"clip{ending}")
    assert clip.pixels.shape == (1, 3, 7, *size)
    assert clip.pixels.dtype == torch.float16
    assert clip.fps == 24
    assert psnr(clip.pixels[0], pixels) > 30


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (6, Fraction(6)),
        (24, Fraction(24)),
        ("30000/1001", Fraction(30000, 1001)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
        (29.97, Fraction(2997, 100)),
        (60, Fraction(60)),
        (119.88, Fraction(2997, 25)),
    ],
)
@pytest.mark.parametrize("frames", [1, 13])
def test_a_clip_of_any_rate_comes_back(
    frames: int, fps: Rate, exact: Fraction, ending: str, tmp_path: Path
) -> None:
    clip = read_clip(clip_file(tmp_path / f"clip{ending}", frames, 8, 10, fps))
    assert clip.fps == exact
    assert clip.pixels.shape[2] == frames


def test_frames_come_back_in_order_and_channels_in_theirs(tmp_path: Path) -> None:
    pixels = flat_greys([0.1, 0.8, 0.3, 0.6, 0.9, 0.2, 0.5], 16, 16).clone()
    pixels[2] = 0.25
    write_clip(tmp_path / "clip.mp4", pixels, 30)
    found = read_clip(tmp_path / "clip.mp4").pixels[0].float()
    torch.testing.assert_close(found, pixels, rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("first", "stop", "kept"),
    [
        (0, None, [0, 1, 2, 3, 4]),
        (2, None, [2, 3, 4]),
        (0, 2, [0, 1]),
        (1, 4, [1, 2, 3]),
        (4, 5, [4]),
        (3, 99, [3, 4]),
    ],
)
def test_a_range_of_frames(first: int, stop: int | None, kept: list[int], tmp_path: Path) -> None:
    greys = [0.1, 0.3, 0.5, 0.7, 0.9]
    write_clip(tmp_path / "clip.mp4", flat_greys(greys, 8, 8), 25)
    clip = read_clip(tmp_path / "clip.mp4", first, stop)
    found = clip.pixels.float().mean(dim=(0, 1, 3, 4))
    expected = torch.tensor([greys[i] for i in kept])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)
    assert clip.fps == 25


def test_even_sizes_are_stored_for_every_player_and_odd_ones_in_full(tmp_path: Path) -> None:
    for size, kept in {(16, 18): "yuv420p", (16, 17): "yuv444p", (15, 18): "yuv444p"}.items():
        path = clip_file(tmp_path / "clip.mp4", 2, *size, 24)
        with av.open(str(path)) as container:
            assert container.streams.video[0].pix_fmt == kept


def test_values_are_clamped_not_wrapped(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", flat_greys([-0.2, 1.2], 8, 8), 24)
    found = read_clip(tmp_path / "clip.mp4").pixels.float().mean(dim=(0, 1, 3, 4))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0]), rtol=0, atol=0.02)


def test_a_written_clip_replaces_another_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = clip_file(tmp_path / "clip.mp4", 2, 8, 8, 24)
    clip_file(path, 3, 8, 8, 24)
    assert list(contents(tmp_path)) == [path]
    assert read_clip(path).pixels.shape[2] == 3
    reference = tmp_path / "file"
    reference.touch()
    assert path.stat().st_mode == reference.stat().st_mode


@pytest.mark.parametrize("name", ["a.mp4", "A.MP4", "b.mkv", "c.mov", "d.webm", "e.y4m", "x/f.avi"])
def test_clips_are_told_by_their_ending(name: str) -> None:
    assert is_clip(name)
    assert is_clip(Path(name))


@pytest.mark.parametrize("name", ["a.png", "mp4", ".mp4", "a.mp4.png", "clip", "a.gif"])
def test_what_has_another_ending_is_no_clip(name: str) -> None:
    assert not is_clip(name)


@pytest.mark.parametrize("name", ["a.mp4", "a.MKV", "a.mov"])
def test_endings_that_can_be_written(name: str, tmp_path: Path) -> None:
    assert check_clip_path(str(tmp_path / name)) == tmp_path / name
