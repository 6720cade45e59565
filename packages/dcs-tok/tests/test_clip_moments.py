"""Moments of the patches of clips, and the runs of frames that they are cut from."""

import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from dcs_tok.canonical_patch import to_canonical
from dcs_tok.clips import read_clip as read_whole_clip
from dcs_tok.patch_moments import ClipSource, clip_moments, detail, read_clip

from .clip_files import clip_file, sound_file
from .errors import error


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """60 frames at 24 fps: two runs of a second, and half a second left over."""
    return clip_file(tmp_path / "clip.mp4", 60, 12, 15, 24)


def test_moments_of_a_clip_are_those_of_its_segments(clip: Path) -> None:
    """At 24 fps and 6 segments per second, segments of four frames are canonical as they are."""
    moments = clip_moments([ClipSource(clip)], patches=4, frames=4, grid=3, segments_per_second=6)
    pixels = read_whole_clip(clip).pixels[0, :, :48].float()
    patches, weights = [], []
    for second in pixels.split(24, dim=1):
        blocks = second.unfold(1, 4, 4).unfold(2, 3, 3).unfold(3, 3, 3)  # c, t, y, x, f, h, w
        patches.append(blocks.permute(1, 2, 3, 4, 5, 6, 0).reshape(-1, 4 * 3 * 3 * 3).double())
        weights.append(1 / (detail(second) + 1e-4))
    weight = torch.tensor(weights, dtype=torch.float64).repeat_interleave(len(patches[0]))
    flat = torch.cat(patches)
    mean = weight @ flat / weight.sum()
    centered = flat - mean
    covariance = centered.T @ (centered * weight[:, None]) / weight.sum()
    assert moments.frames == 4
    assert len(flat) == 2 * 6 * 4 * 5
    torch.testing.assert_close(moments.mean, mean, rtol=0, atol=1e-3)  # half precision above
    torch.testing.assert_close(moments.about(moments.mean), covariance, rtol=0, atol=1e-3)
    assert covariance.abs().max() > 0.01


def test_segments_of_other_rates_are_brought_to_the_canonical_frames(tmp_path: Path) -> None:
    path = clip_file(tmp_path / "clip.mp4", 12, 12, 12, 12)  # two frames a segment
    moments = clip_moments([ClipSource(path)], patches=4, frames=4, grid=3, segments_per_second=6)
    pixels = read_whole_clip(path).pixels[0].float()
    blocks = pixels.unfold(1, 2, 2).unfold(2, 3, 3).unfold(3, 3, 3)
    patches = blocks.permute(1, 2, 3, 4, 5, 6, 0).reshape(-1, 2, 3, 3, 3)
    canonical = to_canonical(patches, (Fraction(1, 2), Fraction(1)), 4, 3).flatten(1)
    torch.testing.assert_close(moments.mean, canonical.double().mean(dim=0), rtol=0, atol=1e-3)


def test_segments_of_one_frame_repeat_it(tmp_path: Path) -> None:
    path = clip_file(tmp_path / "clip.mp4", 6, 12, 12, 6)
    moments = clip_moments([ClipSource(path)], patches=4, frames=4, grid=3, segments_per_second=6)
    by_frame = moments.mean.view(4, -1)
    torch.testing.assert_close(by_frame, by_frame[:1].expand(4, -1), rtol=0, atol=1e-6)
    assert by_frame.std() > 0.01


def test_clips_come_in_whole_runs(clip: Path) -> None:
    runs = list(read_clip(ClipSource(clip)))
    assert [tuple(run.shape) for run, _ in runs] == [(24, 3, 12, 15)] * 2
    assert {fps for _, fps in runs} == {24}
    frames = torch.cat([run for run, _ in runs]).float() / 255
    whole = read_whole_clip(clip).pixels[0, :, :48].float()
    torch.testing.assert_close(frames.transpose(0, 1), whole, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("source", "options", "lengths"),
    [
        ((), {"seconds": 0.5}, [12] * 5),
        ((0, 30), {}, [24]),
        ((50, None), {}, [10]),
        ((0, 5), {}, [5]),
        ((30, 56), {"seconds": 0.25}, [6] * 4),
        ((99, None), {}, []),
        ((), {"stride": 2}, [12] * 2),
        ((1, None), {"stride": 2}, [12] * 2),
        ((), {"stride": 4, "min_fps": 6.0}, [6] * 2),
        ((), {"stride": 4, "min_fps": 6.5}, [24] * 2),
    ],
)
def test_runs_of_every_kind(
    source: tuple[int | None, ...], options: dict[str, float], lengths: list[int], clip: Path
) -> None:
    runs = list(read_clip(ClipSource(clip, *source), **options))
    assert [len(run) for run, _ in runs] == lengths
    stride = 24 // lengths[0] if "stride" in options else 1
    assert {fps for _, fps in runs} <= {Fraction(24, stride)}
    frames = read_whole_clip(clip).pixels[0].transpose(0, 1).float()
    start = source[0] if source else 0
    if runs:
        expected = frames[start::stride][: sum(lengths)]
        found = torch.cat([run for run, _ in runs]).float() / 255
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("clip.mp4", ClipSource(Path("clip.mp4"))),
        ("a/clip.mp4@0:600", ClipSource(Path("a/clip.mp4"), 0, 600)),
        ("me@home.mp4@12:13", ClipSource(Path("me@home.mp4"), 12, 13)),
    ],
)
def test_clips_are_named_with_a_range(text: str, source: ClipSource) -> None:
    assert ClipSource.parse(text) == source


@pytest.mark.parametrize("text", ["clip.mp4@", "clip.mp4@5", "clip.mp4@a:b", "clip.mp4@-1:5"])
def test_ranges_that_are_none(text: str) -> None:
    message = (
        f"A clip must be FILE or FILE@START:STOP, but is {text!r}. "
        "Give the first frame and the one after the last, such as clip.mp4@0:600."
    )
    with error(message):
        ClipSource.parse(text)


def _moments(path: Path, start: int = 0) -> object:
    source = ClipSource(path, start)
    return clip_moments([source], patches=4, frames=4, grid=3, segments_per_second=6)


def test_ranges_without_frames(clip: Path) -> None:
    message = (
        f"The clips must hold frames, but {[str(clip)]} hold none in the ranges that are asked "
        "for. Give other ranges."
    )
    with error(message):
        _moments(clip, 99)


def test_clips_without_video(tmp_path: Path) -> None:
    path = sound_file(tmp_path / "sound.avi")
    with error(f"A clip must hold a video stream, but {str(path)!r} holds none. Name another."):
        _moments(path)


@pytest.mark.parametrize("content", [None, b"", b"a text, by its name a clip\n" * 99])
def test_unreadable_clips(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    begin = f"Every clip must be readable, but {str(path)!r} is not: "
    with pytest.raises(ValueError, match=r"^Every clip .+\. Name another\.$") as problem:
        _moments(path)
    assert str(problem.value).startswith(begin)


def test_clips_need_pyav(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    message = (
        "Clips need PyAV, but it is not installed. Install it with `pip install 'dcs-tok[video]'`."
    )
    with error(message):
        _moments(clip)
