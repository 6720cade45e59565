"""What is no whole clip, or cannot be written as one, is refused with one error."""

import re
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from PIL import Image

from dcs_tok.clips import check_clip_path, read_clip, write_clip

from .clip_files import clip_file, moving_bars, sound_file
from .commands import contents
from .errors import error
from .picture_files import encoded, noise

NO_PYAV = (
    "Clips need PyAV, but it is not installed. Install it with `pip install 'dcs-tok[video]'`."
)


def unreadable(path: Path) -> str:
    """The message about a file that PyAV cannot read; its reason is a pattern."""
    before = f"The input must be a whole clip that PyAV can read, but {path} is not ("
    after = "). Convert it, or check that it was copied completely."
    return f"^{re.escape(before)}.+{re.escape(after)}$"


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with error(f"A clip must exist, but {path} does not. Check the path."):
        read_clip(path)


def test_a_folder(tmp_path: Path) -> None:
    with error(f"A clip must exist, but {tmp_path} does not. Check the path."):
        read_clip(tmp_path)


@pytest.mark.parametrize("content", [b"", b"a text, by its name a clip\n" * 99, bytes(5000)])
def test_what_is_no_clip(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=unreadable(path)):
        read_clip(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9])
def test_an_mp4_that_was_cut_short(share: float, tmp_path: Path) -> None:
    """Its index is at the end and damaged, or gone."""
    path = clip_file(tmp_path / "clip.mp4", 9, 16, 16, 24)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    messages = [
        unreadable(path),
        f"A clip must hold a video stream, but {path} holds none. Check the file.",
        f"A clip must hold frames 0 to its end at a known rate, but {path} gave 0 frames "
        "at 24 fps. Give another range.",
    ]
    with pytest.raises(
        ValueError, match=r"^(The input must be a whole clip|A clip must hold) "
    ) as problem:
        read_clip(path)
    assert re.fullmatch(messages[0], str(problem.value)) or str(problem.value) in messages


def test_a_file_without_video(tmp_path: Path) -> None:
    path = sound_file(tmp_path / "sound.mkv")
    with error(f"A clip must hold a video stream, but {path} holds none. Check the file."):
        read_clip(path)


@pytest.mark.parametrize(
    ("first", "stop", "end"), [(5, None, "its end"), (99, None, "its end"), (3, 3, 3), (4, 2, 2)]
)
def test_a_range_without_frames(first: int, stop: int | None, end: object, tmp_path: Path) -> None:
    path = clip_file(tmp_path / "clip.mp4", 5, 8, 8, "30000/1001")
    message = (
        f"A clip must hold frames {first} to {end} at a known rate, but {path} gave 0 frames "
        "at 30000/1001 fps. Give another range."
    )
    with error(message):
        read_clip(path, first, stop)


def test_frames_beyond_the_ceiling(tmp_path: Path) -> None:
    path = clip_file(tmp_path / "clip.mp4", 4, 256, 400, 24)  # 600 KiB a frame in half precision
    message = (
        f"A clip's frames must fit into 2 MiB, but {path} exceeds them after 3 frames. "
        "Give a range of frames."
    )
    with error(message):
        read_clip(path, ceiling=2 * 2**20)
    assert read_clip(path, 1, ceiling=2 * 2**20).pixels.shape == (1, 3, 3, 256, 400)


def test_a_ceiling_counts_the_kept_frames_to_the_byte(tmp_path: Path) -> None:
    path = clip_file(tmp_path / "clip.mp4", 3, 8, 10, 24)
    clip = read_clip(path, ceiling=3 * 8 * 10 * 3 * 2)
    assert clip.pixels.numel() * clip.pixels.element_size() == 3 * 8 * 10 * 3 * 2
    message = (
        f"A clip's frames must fit into 0 MiB, but {path} exceeds them after 2 frames. "
        "Give a range of frames."
    )
    with error(message):
        read_clip(path, ceiling=3 * 8 * 10 * 3 * 2 - 1)


def test_frames_of_several_sizes(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.height, stream.width, stream.pix_fmt = 16, 24, "yuvj420p"
        for i, size in enumerate([(16, 24), (16, 24), (24, 16)]):
            packet = av.Packet(encoded(Image.fromarray(noise(*size)), "JPEG"))
            packet.stream, packet.time_base = stream, Fraction(1, 24)
            packet.pts = packet.dts = i
            container.mux(packet)
    message = (
        f"All frames of a clip must have one size, but {path} changes at frame 2. Cut it there."
    )
    with error(message):
        read_clip(path)
    with error(message):
        read_clip(path, 1)
    assert read_clip(path, 0, 2).pixels.shape == (1, 3, 2, 16, 24)


def test_clips_need_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip_file(tmp_path / "clip.mp4", 2, 8, 8, 24)
    before = contents(tmp_path)
    monkeypatch.setitem(sys.modules, "av", None)
    with error(NO_PYAV):
        read_clip(path)
    with error(NO_PYAV):
        write_clip(path, moving_bars(3, 8, 8), 24)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["clip", "clip.png", "clip.webm", "clip.avi", ".mp4"])
def test_an_unknown_ending(name: str, tmp_path: Path) -> None:
    message = f"A clip's name must end in one of .mp4, .mkv, .mov, but is {name!r}."
    for attempt in (check_clip_path, lambda path: write_clip(path, moving_bars(2, 8, 8), 24)):
        with error(message):
            attempt(tmp_path / name)
    assert contents(tmp_path) == {}


def test_a_missing_folder(tmp_path: Path) -> None:
    message = f"The output's folder must exist, but {tmp_path / 'none'} does not. Create it first."
    for attempt in (check_clip_path, lambda path: write_clip(path, moving_bars(2, 8, 8), 24)):
        with error(message):
            attempt(tmp_path / "none" / "clip.mp4")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("fps", [0, -24, "fast", float("nan")])
def test_what_is_no_rate(fps: object, tmp_path: Path) -> None:
    message = (
        f"`fps` must be a positive frame rate, but is {fps!r}. "
        "Give frames per second as a number or a fraction such as '30000/1001'."
    )
    with error(message):
        write_clip(tmp_path / "clip.mp4", moving_bars(2, 8, 8), fps)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(("width", "fps"), [(20_000, 24), (8, 10**10)])
def test_what_h264_cannot_hold(width: int, fps: int, tmp_path: Path) -> None:
    path = clip_file(tmp_path / "clip.mp4", 2, 8, 8, 24)
    before = contents(tmp_path)
    begin = (
        f"A clip must be one that H.264 can hold, but {path} of {width}x4 pixels at {fps} fps "
        "is not ("
    )
    end = "). Ask for another size or rate."
    with pytest.raises(ValueError, match=f"^{re.escape(begin)}.+{re.escape(end)}$"):
        write_clip(path, torch.zeros(3, 1, 4, width), fps)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("step", ["torch.Tensor.numpy", "os.replace"])
def test_a_failed_write_leaves_the_old_clip_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip_file(tmp_path / "clip.mp4", 2, 8, 8, 24)
    before = contents(tmp_path)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_clip(path, moving_bars(3, 8, 8), 24)
    assert contents(tmp_path) == before
