"""Clips are cached as pictures are: which frames, in which order, and what is refused."""

import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcs_dit.data import CacheConfig, LatentCache, LatentCaching, find_labelled_pictures
from dcs_dit.data import clip_pixels as pixels_of_clips
from dcs_dit.data.cache_plan import CachePlan
from dcs_dit.data.clip_choice import ClipChoice
from dcs_dit.data.clip_pixels import decode_clips
from dcs_dit.training.recipes import nano
from dcs_dit.training.run import fitted_config

from .clip_files import ToyClipTokenizer, frame_numbers, save_video, video_bytes
from .labelled_files import (
    ToyTokenizer,
    contents,
    error,
    flat_folder,
    run_command,
    zip_of,
)

SMALL = CacheConfig(
    size=(8, 8), fps=8, seconds=1.0, samples_per_shard=4, batch_size=3, dtype="float32"
)
"""Clips of 8 frames in 2 segments of 4."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for label, count in (("wave", 12), ("jump", 8), ("walk", 9)):
        save_video(folder / label / f"{label}.mp4", count)
    return folder


def make(folder: Path, source: Path, config: CacheConfig, **options: int) -> LatentCache | None:
    found = find_labelled_pictures([source], media="clip")
    tokenizer = ToyClipTokenizer()
    caching = LatentCaching(found, tokenizer, config, name="toy", model=None)
    result = caching.run(folder, **options)
    return None if result.missing else LatentCache.open(folder)


# ---------------------------------------------------------------- which frames


@pytest.mark.parametrize(
    ("choice", "count", "fps", "expected"),
    [
        # The centre, one frame nearer to the start where it is odd.
        (ClipChoice(frames=4, fps=8), 9, 8, [(2, 3, 4, 5)]),
        (ClipChoice(frames=4, fps=8), 4, 8, [(0, 1, 2, 3)]),
        # From the beginning to the end.
        (ClipChoice(frames=4, fps=8, clips=2), 9, 8, [(0, 1, 2, 3), (5, 6, 7, 8)]),
        (ClipChoice(frames=2, fps=8, clips=3), 5, 8, [(0, 1), (1, 2), (3, 4)]),
        # Half the rate takes every second frame, twice the rate every frame twice.
        (ClipChoice(frames=3, fps=4), 6, 8, [(0, 2, 4)]),
        (ClipChoice(frames=4, fps=16), 2, 8, [(0, 1, 1)]),  # too short
        # UCF101: frame i / 24 s of 25 frames per second.
        (ClipChoice(frames=5, fps=24), 6, 25, [(0, 1, 2, 3, 4)]),
    ],
)
def test_frames_of_clips(
    choice: ClipChoice, count: int, fps: int, expected: list[tuple[int, ...]]
) -> None:
    if len(expected[0]) < choice.frames:
        with error("it gives 3 of 4 frames at 16 per second"):
            choice.indices(count, Fraction(fps))
    else:
        assert choice.indices(count, Fraction(fps)) == tuple(expected)


@settings(max_examples=40)
@given(
    count=st.integers(1, 60),
    fps=st.fractions(1, 70, max_denominator=1001),
    wanted=st.tuples(st.integers(1, 9), st.integers(1, 60), st.integers(1, 5)),
)
def test_frames_are_the_nearest_and_lie_in_the_video(
    count: int, fps: Fraction, wanted: tuple[int, int, int]
) -> None:
    frames, rate, clips = wanted
    choice = ClipChoice(frames=frames, fps=rate, clips=clips)
    try:
        found = choice.indices(count, fps)
    except ValueError:
        return
    assert [len(clip) for clip in found] == [frames] * clips
    assert list(found) == sorted(found)
    for clip in found:
        assert clip[0] >= 0 and clip[-1] < count
        for first, second in pairwise(clip):
            assert abs(Fraction(second - first) - fps / rate) < 1


def test_frames_are_read_by_their_numbers() -> None:
    clips = decode_clips(video_bytes(12), ClipChoice(frames=4, fps=8, clips=3), (16, 16))
    assert clips.shape == (3, 3, 4, 16, 16)
    assert [frame_numbers(clip) for clip in clips] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]


def test_frames_are_scaled_and_cropped_as_pictures_are() -> None:
    # 32 x 16: the square in the centre is half bright, half dark.
    (clip,) = decode_clips(video_bytes(6, size=(16, 32)), ClipChoice(frames=4, fps=8), (8, 8))
    assert frame_numbers(clip) == [1, 2, 3, 4]
    assert clip[:, :, :, 5:].float().mean() < 0.6 * clip[:, :, :, :3].float().mean()


def test_a_video_that_promises_more_frames_than_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    content = video_bytes(10)
    monkeypatch.setattr(pixels_of_clips, "_count_and_rate", lambda _: (18, Fraction(8)))
    (clip,) = decode_clips(content, ClipChoice(frames=4, fps=8), (16, 16))
    assert frame_numbers(clip) == [3, 4, 5, 6]


def test_a_container_that_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    content = video_bytes(7, container="matroska")
    (clip,) = decode_clips(content, ClipChoice(frames=3, fps=8), (16, 16))
    assert frame_numbers(clip) == [2, 3, 4]


# ---------------------------------------------------------------- the cache


def test_a_cache_of_clips(videos: Path, tmp_path: Path) -> None:
    cache = make(tmp_path / "cache", videos, SMALL)
    assert cache is not None
    assert (len(cache), cache.grid, cache.num_levels, cache.channels) == (3, (2, 2, 2), 3, 2)
    assert cache.label_names == ("jump", "walk", "wave")
    assert (cache.fps, cache.segments_per_second, cache.plan.frames) == (8, 2, 8)
    # Of wave's 12 frames the centre 8 are 2 to 9: its segments have means of 3.5 and 7.5.
    bright = cache.tokens([2])[0, :, 0, 0, 0, 0] * 255 / 10 - 1
    assert bright.tolist() == pytest.approx([3.5, 7.5], abs=0.2)


def test_copies_of_a_video_stay_together(videos: Path, tmp_path: Path) -> None:
    config = replace(SMALL, clips_per_file=2, flips=True)
    cache = make(tmp_path / "cache", videos, config)
    assert cache is not None
    assert cache.pictures.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert cache.names[::4] == ("jump/jump.mp4", "walk/walk.mp4", "wave/wave.mp4")
    tokens = cache.tokens(range(12))
    # Clip, its mirror, the next clip, its mirror; columns change places.
    torch.testing.assert_close(tokens[1::2], tokens[::2].flip(3), rtol=1e-4, atol=1e-4)
    first, second = tokens[8, :, 0, 0, 0, 0], tokens[10, :, 0, 0, 0, 0]
    assert ((second - first) * 255 / 10).tolist() == pytest.approx([4, 4], abs=0.3)


def test_jobs_and_zips_make_the_same_cache(videos: Path, tmp_path: Path) -> None:
    config = replace(SMALL, clips_per_file=2)
    archive = zip_of(videos, tmp_path / "videos.zip")
    make(tmp_path / "whole", videos, config)
    for job in (1, 0):
        make(tmp_path / "jobs", archive, config, jobs=2, job=job)
    assert contents(tmp_path / "jobs") == contents(tmp_path / "whole")


def test_videos_that_are_too_short_or_damaged_are_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, frames in enumerate((8, 9, 5)):
        save_video(tmp_path / "videos" / f"{number}.mp4", frames)
    (tmp_path / "videos" / "3.mp4").write_bytes(b"no video")
    cache = make(tmp_path / "cache", tmp_path / "videos", replace(SMALL, max_corrupt=0.5))
    assert cache is not None
    assert cache.names == ("0.mp4", "1.mp4")
    first, second = capsys.readouterr().err.splitlines()
    note = f"dcs-dit: note: skipped an unreadable clip: {tmp_path}/videos"
    assert first == f"{note}/2.mp4 (it gives 5 of 8 frames at 8 per second)"
    assert second.startswith(f"{note}/3.mp4 (")


def test_plans_from_before_there_were_clips_stand(tmp_path: Path) -> None:
    """What the first release wrote: neither its keys nor its digest may change."""
    plan = CachePlan(
        tokenizer="toy",
        model=None,
        fingerprint="toy-1",
        label_names=("bee", "owl"),
        size=(12, 12),
        patches=2,
        grid=(1, 2, 2),
        levels=3,
        channels=2,
        dtype="float16",
        samples=5,
        samples_per_shard=4,
        flips=False,
        pictures="0123456789abcdef",
        seed=0,
    )
    assert plan.digest == "acaf97e3f122836f"
    plan.write(tmp_path)
    assert "fps" not in (tmp_path / "cache.json").read_text()
    assert CachePlan.read(tmp_path) == plan
    assert CachePlan.read(tmp_path).copies == 1


def test_a_generator_of_clips_knows_their_rate(videos: Path, tmp_path: Path) -> None:
    cache = make(tmp_path / "cache", videos, SMALL)
    assert cache is not None
    recipe = nano()
    model = replace(recipe.model, num_levels=3, latent_channels=2)
    config = fitted_config(replace(recipe, model=model), cache)
    assert (config.fps, config.segments_per_second, config.grid) == (8, 2, (2, 2, 2))
    # What it generates has as many frames as it has seen.
    assert config.grid[0] * config.fps // config.segments_per_second == cache.plan.frames


def test_clips_of_other_rates_do_not_go_together(videos: Path, tmp_path: Path) -> None:
    make(tmp_path / "8", videos, SMALL)
    make(tmp_path / "4", videos, replace(SMALL, fps=4, seconds=1.0))
    with error(
        f"Caches that are used together must have the same fps, but {tmp_path}/8 has 8 and "
        f"{tmp_path}/4 has 4. Make them with one tokenizer, grid and table of labels."
    ):
        LatentCache.open_all([tmp_path / "8", tmp_path / "4"])


# ---------------------------------------------------------------- the command


def test_the_command(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    said = run_command(
        videos, "--output", out, "--tokenizer", "toy", "--size", 8, "--fps", 8,
        "--seconds", 1, "--clips-per-file", 2, tokenizer=ToyClipTokenizer(),
    )  # fmt: skip
    assert said == (
        f"wrote {out}: 1 shards (0 kept) of 6 samples, of 8 frames at 8 fps, 2 x 2 x 2 patches, "
        "3 levels of 2 channels, 3 classes"
    )


def test_clips_without_a_rate_are_not_pictures(videos: Path, tmp_path: Path) -> None:
    with error(
        "Every source must hold pictures (.bmp, .jpeg, .jpg, .png, .ppm, .tif, .tiff, .webp), but "
        f"{str(videos)!r} holds none. Name others, or give `--fps` for its clips."
    ):
        run_command(videos, "--output", tmp_path / "cache")


def test_pictures_are_no_clips(tmp_path: Path) -> None:
    pictures = flat_folder(tmp_path / "pictures", 2)
    with error(
        "Every source must hold clips (.avi, .m4v, .mkv, .mov, .mp4, .mpg, .webm, .y4m), but "
        f"{str(pictures)!r} holds none. Name others."
    ):
        run_command(pictures, "--output", tmp_path / "cache", "--fps", 8)


def test_files_and_settings_are_of_one_kind(videos: Path) -> None:
    found = find_labelled_pictures([videos], media="clip")
    with error(
        "`fps` must be given for clips and for nothing else, but is None for clips. Find files "
        "of the other kind, or change it."
    ):
        LatentCaching(found, ToyClipTokenizer(), CacheConfig(), name="toy", model=None)


def test_clips_fill_their_segments(videos: Path) -> None:
    found = find_labelled_pictures([videos], media="clip")

    class Uneven(ToyClipTokenizer):
        def encode(self, pixels, fps=None, levels=None, patches=None):  # type: ignore[no-untyped-def]
            return super().encode(pixels[:, :, :4], fps, levels, patches)

    with error(
        "Clips must fill their segments, of which the tokenizer has 2 a second, but 6 frames at 8 "
        "per second do not. Take a multiple of 4 frames: `seconds` of 0.5 and so on."
    ):
        LatentCaching(found, Uneven(), replace(SMALL, seconds=0.75), name="toy", model=None)


def test_a_tokenizer_of_clips_has_segments(videos: Path) -> None:
    found = find_labelled_pictures([videos], media="clip")

    class Still(ToyClipTokenizer):
        def encode(self, pixels, fps=None, levels=None, patches=None):  # type: ignore[no-untyped-def]
            return ToyTokenizer.encode(self, pixels.mean(dim=2), None, levels, patches)

    tokenizer = Still()
    tokenizer.config = ToyTokenizer().config
    with error(
        "A tokenizer of clips must say its `config.segments_per_second`, but 'toy' does not. Use "
        "another, or cache pictures."
    ):
        LatentCaching(found, tokenizer, SMALL, name="toy", model=None)


def test_pyav_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with error("Reading clips needs PyAV, but it is not installed. Install `dcs-dit[video]`."):
        pixels_of_clips.import_pyav()
