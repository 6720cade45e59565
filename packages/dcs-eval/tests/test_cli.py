"""``dcs-eval`` end to end on two small pictures, and its refusals."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import Tensor

from dcs_common import codec_names
from dcs_common.resample import resize
from dcs_eval import RateDistortion, tokenizer_arguments
from dcs_eval.cli import main

from .coarse_codec import CoarseCodec


class Shrinking:
    """A tokenizer of two levels: a small picture, and a larger one."""

    config = SimpleNamespace(num_levels=2)

    def encode(self, pixels: Tensor, fps=None, levels=None, patches=None) -> Tensor:
        return pixels

    def decode(self, latents: Tensor, size=None, fps=None, levels=2) -> Tensor:
        return resize(resize(latents, (8 * levels, 9 * levels)), size)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    match = re.fullmatch("dcs-eval: error: ([^\n]+)\n", said.err)
    assert match, said.err
    return match[1]


def test_rate_distortion(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "deep" / "result"
    common = ["--data", str(folder), "--output", str(out), "--crops", "1"]
    assert main(["rate-distortion", "--codecs", "jpeg", "webp", *common]) == 0
    said = capsys.readouterr()
    record = RateDistortion.load(out / "rate-distortion.json")
    assert (said.err, said.out) == (
        "",
        f"wrote {out / 'rate-distortion.html'}, .md, .json and plots: 2 codecs on 2 pictures, "
        f"{len(record.points)} files measured\n",
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "psnr.svg",
        *(f"rate-distortion.{ending}" for ending in ("html", "json", "md")),
        "ssim.svg",
    ]
    assert record.titles == {"jpeg": "JPEG", "webp": "WebP"}
    assert [picture.name for picture in record.pictures] == ["first", "second"]
    assert record.metrics == ("psnr", "ssim")
    assert (out / "rate-distortion.md").read_text() == record.markdown()
    assert (out / "rate-distortion.html").read_text().count("<figcaption>") == 3

    # With the record at hand only the codec that it lacks is measured.
    codec = CoarseCodec()
    found = {"coarse": codec}
    known = rate_distortion_command_find(monkeypatch, found)
    arguments = ["--codecs", "jpeg", "coarse", "--known", str(out / "rate-distortion.json")]
    assert main(["rate-distortion", *arguments, *common, "--crops", "0"]) == 0
    assert known == ["jpeg", "coarse"]
    second = RateDistortion.load(out / "rate-distortion.json")
    assert [p for p in second.points if p.codec == "jpeg"] == [
        p for p in record.points if p.codec == "jpeg"
    ]
    assert codec.calls == 8


def rate_distortion_command_find(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, CoarseCodec]
) -> list[str]:
    """Let the command find codecs of a test; return the list of names that it asks for."""
    from dcs_common.entry_points import find_codec

    asked: list[str] = []

    def find(name: str) -> object:
        asked.append(name)
        return found.get(name) or find_codec(name)

    monkeypatch.setattr("dcs_eval.rate_distortion_command.find_codec", find)
    return asked


def test_reconstruction(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str | None]] = []

    def find(name: str, model: str | None) -> Shrinking:
        asked.append((name, model))
        return Shrinking()

    monkeypatch.setattr(tokenizer_arguments, "find_tokenizer", find)
    out = tmp_path / "result"
    arguments = ["--tokenizer", "some", "--model", "m", "--data", folder, "--output", out]
    arguments += ["--metrics", "psnr", "--scales", "1", "2", "--pictures", "1"]
    assert main(["reconstruction", *map(str, arguments)]) == 0
    said = capsys.readouterr()
    assert asked == [("some", "m")]
    assert (said.err, said.out) == (
        "",
        f"wrote {out / 'reconstruction.md'} and .json: some on 1 picture\n",
    )
    lines = (out / "reconstruction.md").read_text().splitlines()
    assert lines[0] == "| picture | levels | PSNR, dB | agreement at 2x, dB |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| mean"] * 2 + ["| first"] * 2


def test_an_unknown_codec(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "rate-distortion", "--codecs", "jpg", "--data", folder) == (
        f"The name of a codec must be one of {', '.join(codec_names())}, but is 'jpg'. "
        "Install a package that offers it under the entry points 'dcs.codecs'."
    )


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for command in ("rate-distortion", "reconstruction"):
        assert refusal(capsys, command, "--data", tmp_path / "empty") == (
            f"The folder must hold pictures, but {tmp_path / 'empty'} holds none."
        )


def test_a_bad_picture_stops_the_run_before_it_starts(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "zebra.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    said = refusal(capsys, "rate-distortion", "--data", folder, "--output", out)
    assert said.startswith("The input must be a whole picture that Pillow can read, but ")
    assert not out.exists()


def test_other_requests_that_cannot_be_met(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("rate-distortion", "--data", folder)
    assert refusal(capsys, *command, "--seed", 2**64) == (
        f"`--seed` must fit into 64 bits, but is {2**64}. Choose another."
    )
    assert refusal(capsys, *command, "--output", folder / "notes.txt") == (
        f"`--output` must be a folder, but {folder / 'notes.txt'} is a file. Name another."
    )
    said = refusal(capsys, *command, "--device", "abacus")
    assert said.startswith("`--device` must name a device of this machine, but is 'abacus' (")
    assert refusal(capsys, *command, "--lpips-trunk", tmp_path / "t.pth") == (
        f"A file of weights must exist, but {tmp_path / 't.pth'} does not. Check the path."
    )
    assert refusal(capsys, *command, "--known", tmp_path / "r.json") == (
        f"A record must exist, but {tmp_path / 'r.json'} does not. Check the path."
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--pictures", "0", "must be a whole number of at least 1, but is '0'"),
        ("--crop-bpp", "x", "must be a number above 0, but is 'x'"),
        ("--crop-bpp", "inf", "must be a number above 0, but is 'inf'"),
    ],
)
def test_arguments_that_mean_nothing(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["rate-distortion", "--data", "x", option, value])
    assert stop.value.code == 2
    assert f"error: argument {option}: {message}\n" in capsys.readouterr().err


def test_the_command_is_installed_and_starts_light() -> None:
    code = (
        "import sys; from dcs_eval.cli import main\n"
        "try: main(['--help'])\nfinally: print(sorted({'lpips', 'torchmetrics', 'torchvision', "
        "'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "rate-distortion" in done.stdout
    assert done.stdout.endswith("[]\n")
