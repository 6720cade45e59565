"""A window of a clip holds the right frames, at all rates, and nothing else is decoded."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.training import seeded_generator
from dcs_tok.data import ScaleConfig
from dcs_tok.data.clip_frames import ClipFrames, open_clip
from dcs_tok.data.clip_window import clip_pair, frames_before_last
from dcs_tok.data.geometry import BatchGeometry
from dcs_tok.data.sources import SampleOpener, UnreadableSampleError, find_samples

from .clip_files import clip_file, sound_file
from .data_files import KEYFRAMES, numbered_clip, numbers_of, zip_of
from .errors import error

SCALES = ScaleConfig(short_sides=(6, 8), patches=(2,), asymmetric=True, clip_share=1.0)
FRAMES = 50


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty numbered frames at 24 fps, a keyframe every eighth."""
    return numbered_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES, 24)


def geometry(
    frames: int, fps: int, target_frames: int, target_fps: int, target_side: int = 6
) -> BatchGeometry:
    """Scales of a clip."""
    return BatchGeometry(
        "clip",
        2,
        (8, 8),
        (target_side, target_side),
        Fraction(fps),
        Fraction(target_fps),
        frames,
        target_frames,
    )


def pair_of(path: Path, scales: BatchGeometry, *key: int) -> tuple[Tensor, Tensor]:
    """Read a window that ``key`` draws."""
    return clip_pair(lambda: path.open("rb"), str(path), scales, SCALES, seeded_generator(*key))


rates = st.fractions(1, 120, max_denominator=1001)


@given(frames=st.integers(1, 40), fps=rates, source_fps=rates)
def test_frames_are_the_nearest_ones_before_the_last(
    frames: int, fps: Fraction, source_fps: Fraction
) -> None:
    before = frames_before_last(frames, fps, source_fps)
    assert len(before) == frames
    assert before[-1] == 0
    for i, found in enumerate(before):
        wanted = (frames - 1 - i) * source_fps / fps
        assert abs(found - wanted) <= Fraction(1, 2)


def test_windows_hold_the_right_frames_at_both_rates(clip: Path) -> None:
    lasts = set()
    for seed in range(16):
        pixels, target = pair_of(clip, geometry(5, 12, 10, 24), seed)
        numbers = numbers_of(pixels)
        last = numbers[-1]
        assert numbers == [last - 8, last - 6, last - 4, last - 2, last]
        assert numbers_of(target) == list(range(last - 9, last + 1))
        assert (pixels.shape, target.shape) == ((3, 5, 8, 8), (3, 10, 6, 6))
        lasts.add(last)
    assert min(lasts) < 20
    assert max(lasts) > 35
    assert len(lasts) > 8


@pytest.mark.parametrize(("fps", "target_fps"), [(24, 6), (8, 24), (48, 24), (10, 7)])
def test_input_and_target_end_with_one_frame(fps: int, target_fps: int, clip: Path) -> None:
    for seed in range(5):
        pixels, target = pair_of(clip, geometry(6, fps, 4, target_fps), seed)
        assert numbers_of(pixels)[-1] == numbers_of(target)[-1]
        assert numbers_of(pixels) == sorted(numbers_of(pixels))


def test_equal_scales_are_one_tensor(clip: Path) -> None:
    pixels, target = pair_of(clip, geometry(5, 12, 5, 12, target_side=8), 0)
    assert target is pixels


def test_a_window_may_be_drawn_anywhere(clip: Path) -> None:
    lasts = {numbers_of(pair_of(clip, geometry(48, 24, 48, 24), i)[0])[-1] for i in range(8)}
    assert lasts == {47, 48, 49}


def test_the_first_frame_of_a_short_clip_repeats(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "clip.mp4", 3, 24)
    for seed in range(4):
        pixels, target = pair_of(path, geometry(3, 12, 6, 24), seed)
        assert numbers_of(pixels) == [0, 0, 2]
        assert numbers_of(target) == [0, 0, 0, 0, 1, 2]


def test_a_clip_of_one_frame(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "clip.mp4", 1, 24)
    assert numbers_of(pair_of(path, geometry(2, 24, 3, 24), 0)[1]) == [0, 0, 0]


def test_uneven_time_stamps_hold_each_frame_until_the_next(tmp_path: Path) -> None:
    times = [0, 1, 4, 5, 9, 10, 11, 15]
    path = numbered_clip(tmp_path / "clip.mkv", 8, 24, times=times)
    shown = [max(j for j, time in enumerate(times) if time <= t) for t in range(16)]
    with open_clip(lambda: path.open("rb"), str(path)) as opened:
        opened.rate = Fraction(24)  # what it states is the mean
        for wanted in (range(16), (3,), (6, 8, 14), (15,), (2, 3)):
            found = dict(opened.at(wanted))
            assert list(found) == list(wanted)
            frames = torch.stack(list(found.values()), dim=1).float() / 255
            assert numbers_of(frames) == [shown[t] for t in wanted]


@pytest.mark.parametrize(
    ("ending", "codec"),
    [(".mp4", "libx264"), (".mkv", "libx264"), (".mov", "mpeg4"), (".avi", "mpeg4")],
)
def test_frames_are_found_by_number_in_every_container(
    ending: str, codec: str, tmp_path: Path
) -> None:
    path = numbered_clip(tmp_path / f"clip{ending}", 30, 25, codec=codec)
    with open_clip(lambda: path.open("rb"), str(path)) as opened:
        assert (opened.rate, opened.frames) == (25, 30)
        for wanted in (range(30), (29,), (7, 8), (0,), (0, 1), (13, 21), (16,)):
            found = dict(opened.at(wanted))
            assert list(found) == list(wanted)
            frames = torch.stack(list(found.values()), dim=1).float() / 255
            assert numbers_of(frames) == list(wanted)


def test_only_the_window_is_decoded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    numbered = ClipFrames._numbered

    def watched(self: ClipFrames) -> Iterator[tuple[int, Any]]:
        for index, frame in numbered(self):
            decoded.append(index)
            yield index, frame

    monkeypatch.setattr(ClipFrames, "_numbered", watched)
    for seed in range(10):
        decoded.clear()
        numbers = numbers_of(pair_of(clip, geometry(3, 24, 3, 24), seed)[0])
        assert decoded == list(range(decoded[0], numbers[-1] + 1))
        assert numbers[0] - KEYFRAMES < decoded[0] <= numbers[0]


def test_containers_that_seek_too_far_are_read_from_the_beginning(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered = ClipFrames._numbered

    def too_far(self: ClipFrames) -> Iterator[tuple[int, Any]]:
        frames = numbered(self)
        first = next(frames)
        yield from [] if first[0] else [first]
        yield from frames

    expected = [pair_of(clip, geometry(3, 24, 5, 24), seed) for seed in range(6)]
    monkeypatch.setattr(ClipFrames, "_numbered", too_far)
    for seed in range(6):
        pair = pair_of(clip, geometry(3, 24, 5, 24), seed)
        assert all(torch.equal(one, other) for one, other in zip(pair, expected[seed], strict=True))


def test_the_region_is_one_for_all_frames(tmp_path: Path) -> None:
    """Frames that differ in their grey alone show the same place if their steps are alike."""
    path = clip_file(tmp_path / "clip.mp4", 12, 24, 48, 24)
    with open_clip(lambda: path.open("rb"), str(path)) as opened:
        whole = torch.stack([frame for _, frame in opened.at(range(12))], dim=1)
    scales = replace(SCALES, crop="native", flip=False)
    pixels, _ = clip_pair(
        lambda: path.open("rb"), "", geometry(12, 24, 12, 24), scales, seeded_generator(3)
    )
    windows = whole.unfold(2, 8, 1).unfold(3, 8, 1)
    bytes_ = (pixels * 255).round().to(torch.uint8)
    same = (windows == bytes_[:, :, None, None]).flatten(4).all(dim=4).all(dim=0).all(dim=0)
    assert same.sum() == 1


@pytest.mark.parametrize("write", [zip_of, lambda folder, _: folder])
def test_clips_in_zips_are_those_in_folders(
    write: Callable[[Path, Path], Path], clip: Path, tmp_path: Path
) -> None:
    (sample,) = find_samples([write(clip.parent, tmp_path / "a.zip")], ["clip"])
    opener = SampleOpener()
    for seed in range(3):
        scales = geometry(4, 12, 7, 24)
        pair = clip_pair(
            lambda: opener.open(sample), sample.name, scales, SCALES, seeded_generator(seed)
        )
        for one, other in zip(pair, pair_of(clip, scales, seed), strict=True):
            assert torch.equal(one, other)


def test_files_without_video(tmp_path: Path) -> None:
    path = sound_file(tmp_path / "sound.avi")
    with error(
        f"Every clip must be readable, but {str(path)!r} is not: it holds no video. Remove it."
    ):
        pair_of(path, geometry(2, 24, 2, 24), 0)


@pytest.mark.parametrize("content", [None, b"", b"no clip at all\n" * 99])
def test_unreadable_files(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableSampleError, match=r"^Every clip .+ Remove it\.$") as problem:
        pair_of(path, geometry(2, 24, 2, 24), 0)
    assert problem.value.location == str(path)


def test_clips_that_were_cut_off(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(UnreadableSampleError, match=r"^Every clip .+ Remove it\.$"):
        pair_of(path, geometry(2, 24, 2, 24), 0)
