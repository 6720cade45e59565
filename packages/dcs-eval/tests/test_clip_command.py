"""``dcs-eval reconstruction --fps``: clips in files, other rates, and what is refused."""

import json
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_eval import reconstruction_command, tokenizer_arguments
from dcs_eval.cli import main
from dcs_eval.clip_files import ClipFiles
from dcs_eval.labelled_files import find_labelled
from dcs_eval.protocols.clip_rule import ClipRule

from .errors import error
from .test_cli import refusal
from .test_clip_protocols import animation, colours, greys, video
from .test_frame_rates import MovingTokenizer


class Still:
    """Level 1 of 2 is 0.1 brighter, and other rates 0.01 more; a clip's last frame, repeated."""

    config = MovingTokenizer().config

    def encode(self, pixels: Tensor, *, levels: int, fps: Fraction) -> tuple[Tensor, Fraction]:
        assert pixels.shape == (1, 3, 4, 8, 8)
        return pixels.clamp(0, 0.8), fps

    def decode(
        self,
        latents: tuple[Tensor, Fraction],
        *,
        size: tuple[int, int],
        levels: int,
        fps: Fraction,
    ) -> Tensor:
        pixels, own = latents
        offset = (0.1 if levels == 1 else 0.0) + (0.01 if fps != own else 0.0)
        frames = round(pixels.shape[2] * fps / own)
        return (pixels[:, :, -1:] + offset).expand(-1, -1, frames, -1, -1)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video and an animation."""
    video(tmp_path / "clips" / "c" / "a.mkv", greys(1) * 9, 24)
    animation(tmp_path / "clips" / "b.webp", greys(6, 1))
    monkeypatch.setattr(tokenizer_arguments, "find_tokenizer", lambda *_: Still())
    return tmp_path


def test_rates_agree_as_far_as_the_tokenizer_does(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data / "out"
    command = ["--data", data / "clips", "--fps", 24, "--frames", 4, "--rates", 12, 48]
    command += ["--tokenizer", "still", "--metrics", "psnr", "--output", out]
    assert main(["reconstruction", *map(str, command)]) == 0
    said = capsys.readouterr()
    assert (said.err, said.out) == (
        "",
        f"wrote {out / 'reconstruction.md'} and .json: still on 2 clips\n",
    )
    rows = json.loads((out / "reconstruction.json").read_text("utf-8"))["rows"]
    assert [(row["picture"], row["levels"], row["fps"]) for row in rows] == [
        (name, levels, rate)
        for name in ("b.webp", "c/a.mkv")
        for levels in (1, 2)
        for rate in (None, 12, 48)
    ]
    for row in rows:
        if row["fps"] is not None:
            assert row["psnr"] == pytest.approx(40, abs=1e-2)  # 0.01 from the own rate's decode
    text = (out / "reconstruction.md").read_text("utf-8")
    assert text.splitlines()[0] == (
        "| picture | levels | PSNR, dB | agreement at 12 fps, dB | agreement at 48 fps, dB |"
    )
    assert text.endswith(
        "\n\nClips: the centre 4 frames of each video, after taking the frame nearest in time to "
        "each of 24 per second.\n"
    )


def test_one_file_is_data_too(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data", data / "clips" / "c" / "a.mkv", "--fps", 12, "--frames", 4]
    command += ["--tokenizer", "still", "--metrics", "psnr", "--output", data / "out"]
    assert main(["reconstruction", *map(str, command)]) == 0
    assert capsys.readouterr().out.endswith("still on 1 clip\n")


def test_clips_that_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / "out"
    command = ("reconstruction", "--data", data / "clips", "--output", out)
    for option in ("--rates", "--frames"):
        assert refusal(capsys, *command, option, 12) == (
            f"`{option}` is of clips, but there is no `--fps`. Give the frames per second that "
            "clips are brought to."
        )
    assert refusal(capsys, *command, "--fps", 24, "--frames", 7) == (
        f"A clip takes 7 frames at 24 fps, but {data / 'clips' / 'b.webp'} of 6 frames at 24 fps "
        "gives 6. Leave it out."
    )
    assert refusal(capsys, *command, "--fps", 24, "--frames", 4, "--rates", "24/1") == (
        "`rates` must be other rates than the clips' own, but 24 is both. "
        "Leave it out: it is always decoded."
    )
    (data / "none").mkdir()
    assert refusal(capsys, *command[:1], "--data", data / "none", "--fps", 24) == (
        f"There must be clips in {data / 'none'}, but it holds none."
    )
    with pytest.raises(SystemExit):
        main([*map(str, command), "--fps", "0"])
    assert capsys.readouterr().err.endswith(
        "argument --fps: must be a number above 0 or a fraction such as 30000/1001, but is '0'\n"
    )
    assert not out.exists()


def test_pyav_is_imported_for_clips_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "av" not in reconstruction_command.__dict__
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with error(
        "Videos need PyAV, but it is not installed. Install it with `pip install "
        "'dcs-eval[video]'`."
    ):
        ClipFiles(find_labelled([data / "clips" / "c"], media="clip"), ClipRule(frames=1, fps=24))[
            0
        ]


def stamped(path: Path, milliseconds: list[int], fps: int = 24) -> list[tuple[int, ...]]:
    """Write a video whose frames come at these times, and return their colours."""
    frames = greys(len(milliseconds))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "bgr0"
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(frames, milliseconds, strict=True):
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return [image.getpixel((0, 0)) for image in frames]


def test_frames_come_when_their_time_stamps_say(tmp_path: Path) -> None:
    """Ten a second, then none for half a second: the frame before is shown until half of it."""
    found = stamped(tmp_path / "clips" / "a.mkv", [0, 100, 200, 700, 800, 900])
    rule = ClipRule(frames=10, fps=Fraction(10))
    clip = ClipFiles(find_labelled([tmp_path / "clips"], media="clip"), rule)[0]
    numbers = (0, 1, 2, 2, 2, 3, 3, 3, 4, 5)
    assert colours(clip) == [found[number] for number in numbers]
    with error(
        f"A clip takes 11 frames at 10 fps, but {tmp_path / 'clips' / 'a.mkv'} of 6 frames in 1 s "
        "gives 10. Leave it out."
    ):
        ClipFiles(
            find_labelled([tmp_path / "clips"], media="clip"), ClipRule(frames=11, fps=rule.fps)
        )[0]


def test_rounded_time_stamps_are_no_other_rate(tmp_path: Path) -> None:
    """60 a second in whole milliseconds, taken at 24: half the frames are as near as the next."""
    times = [round(1000 * n / 60) for n in range(30)]
    found = stamped(tmp_path / "clips" / "a.mkv", times, 60)
    rule = ClipRule(frames=12, fps=Fraction(24))
    clip = ClipFiles(find_labelled([tmp_path / "clips"], media="clip"), rule)[0]
    numbers = (0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28)
    assert rule.indices(30, Fraction(60)) == numbers
    assert colours(clip) == [found[number] for number in numbers]
    assert rule.indices_at([Fraction(time, 1000) for time in times]) != numbers


@given(
    count=st.integers(2, 40),
    fps=st.sampled_from([Fraction(n) for n in (7, 12, 24, 25, 48, 60)] + [Fraction(30000, 1001)]),
    target=st.sampled_from([Fraction(n) for n in (12, 24, 25, 48)]),
    start=st.integers(0, 3),
)
def test_equal_distances_are_a_rate(
    count: int, fps: Fraction, target: Fraction, start: int
) -> None:
    times = [start + n / fps for n in range(count)]
    for frames in range(1, 200):
        rule = ClipRule(frames=frames, fps=target)
        try:
            expected = rule.indices(count, fps)
        except ValueError:
            with pytest.raises(ValueError, match=r"^A clip takes "):
                rule.indices_at(times)
            return
        assert rule.indices_at(times) == expected
