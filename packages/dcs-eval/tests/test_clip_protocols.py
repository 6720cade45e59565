"""Protocols of clips end to end: which frames, at which size, what is refused, jobs as one."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d

from dcs_eval import generation_command, reconstruction_command, tokenizer_arguments
from dcs_eval.clip_files import ClipFiles
from dcs_eval.distribution.frechet import FeatureStatistics, frechet_distance
from dcs_eval.eight_bit import to_image
from dcs_eval.features.i3d import I3D_ADDRESS
from dcs_eval.labelled_files import find_labelled
from dcs_eval.protocols import feature_folders
from dcs_eval.protocols.clip_rule import ClipRule
from dcs_eval.protocols.clips import ProtocolClips, centre_square
from dcs_eval.protocols.presets import PROTOCOLS, find_protocol

from .errors import error
from .plain_tokenizers import Offset
from .test_cli import refusal
from .test_protocol_commands import protocol_json, run

RULE = ClipRule(frames=3, fps=Fraction(24))


class MeanCuboids:
    """The mean colours of a few cuboids of a clip: 6 features."""

    name, size = "mean-cuboids", 6

    def __call__(self, clips: Tensor) -> Tensor:
        return adaptive_avg_pool3d(clips, (2, 1, 1)).flatten(1)


class ClipOffset(Offset):
    """Wrong by 0.1; takes clips alone."""

    def encode(self, pixels: Tensor, fps=None, levels=None, patches=None) -> Tensor:
        assert fps == 24
        return pixels


def greys(count: int, seed: int = 0, height: int = 8, width: int = 8) -> list[Image.Image]:
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(count, 3, 1, 1, generator=generator).expand(-1, -1, height, width)
    return [to_image(colour[None]) for colour in colours]


def video(path: Path, frames: list[Image.Image], fps: int) -> None:
    """Write frames as they are: lossless RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def animation(path: Path, frames: list[Image.Image], fps: float = 24) -> None:
    """Write frames as ``dcs-dit sample`` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = frames
    first.save(path, save_all=True, append_images=others, duration=1000 / fps, lossless=True)


def taken(folder: Path, rule: ClipRule = RULE) -> ClipFiles:
    return ClipFiles(find_labelled([folder], media="clip"), rule)


def colours(clip: Tensor) -> list[tuple[int, ...]]:
    return [tuple(c) for c in clip[0, :, :, 0, 0].mul(255).round().int().T.tolist()]


def test_videos_are_brought_to_the_rate_and_cut_in_the_middle(tmp_path: Path) -> None:
    frames = greys(40)
    video(tmp_path / "a" / "first.mkv", frames, 25)
    video(tmp_path / "a" / "second.mkv", frames[:10], 48)
    found = taken(tmp_path)
    for clip, numbers in zip(found, [(18, 19, 20), (2, 4, 6)], strict=True):
        assert clip.shape == (1, 3, 3, 8, 8)
        assert colours(clip) == [frames[n].getpixel((0, 0)) for n in numbers]
    assert torch.equal(found[1:][0], found[1])
    assert len(found[:1]) == 1
    assert found.digest != taken(tmp_path, replace(RULE, frames=4)).digest


@given(runs=st.lists(st.integers(1, 4), min_size=2, max_size=6), frames=st.integers(1, 5))
def test_equal_neighbours_of_an_animation_are_parted_again(
    runs: list[int], frames: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("animation")
    images = greys(len(runs))
    whole = [image for image, run in zip(images, runs, strict=True) for _ in range(run)]
    animation(folder / "a.webp", whole)
    if len(whole) < frames:
        return
    first = (len(whole) - frames) // 2
    expected = [image.getpixel((0, 0)) for image in whole[first : first + frames]]
    assert colours(taken(folder, replace(RULE, frames=frames))[0]) == expected


def test_frames_that_are_stored_as_changes_are_opaque(tmp_path: Path) -> None:
    """Encoders keep what changes alone, with a channel of transparency that nobody sees."""
    noise = torch.randint(0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(0))
    images = []
    for number in range(16):
        noise[number : number + 4, 5:9] = 16 * number
        images.append(Image.fromarray(noise.byte().numpy()))
    where = tmp_path / "a.webp"
    animation(where, images)
    with Image.open(where) as image:
        assert image.mode == "RGBA", "the encoder has changed: this tests nothing any more"
    clip = taken(tmp_path, replace(RULE, frames=16))[0]
    for number, image in enumerate(images):
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        assert torch.equal((clip[0, :, number] * 255).round().byte(), expected)


def test_clips_that_cannot_be_used(tmp_path: Path) -> None:
    where = tmp_path / "a.webp"
    animation(where, greys(4), fps=25)
    with error(
        f"An animated WebP must play at 24 frames per second, but frame 0 of {where} ends after "
        "40 ms. Make it anew at that rate."
    ):
        taken(tmp_path)[0]
    animation(where, greys(2))
    with error(
        f"A clip takes 3 frames at 24 fps, but {where} of 2 frames at 24 fps gives 2. Leave it out."
    ):
        taken(tmp_path)[0]
    animation(where, [image.convert("RGBA") for image in greys(4)])
    see_through = [Image.new("RGBA", (8, 8), (9, 9, n, 50)) for n in range(4)]
    animation(where, see_through)
    with error(f"Clips must have no transparency, but {where} is RGBA. Convert it to RGB."):
        taken(tmp_path)[0]
    where.write_bytes(b"none")
    with error(
        f"The input must be a whole clip that Pillow can read, but {where} is not (it knows no "
        "such format). Convert it, or check that it was copied completely."
    ):
        taken(tmp_path)[0]
    where.unlink()
    (tmp_path / "a.avi").touch()
    with error(
        f"The input must be a whole clip that PyAV can read, but {tmp_path / 'a.avi'} is not "
        "(Invalid data found when processing input). Convert it, or check that it was copied "
        "completely."
    ):
        taken(tmp_path)[0]
    (tmp_path / "a.avi").unlink()
    with error(f"There must be clips in the reference, but {tmp_path} holds none."):
        taken(tmp_path)


def test_the_square_in_the_centre() -> None:
    clip = torch.randint(256, (1, 3, 2, 5, 8), generator=torch.Generator().manual_seed(0)) / 255
    assert torch.equal(centre_square(clip, 5), clip[..., 1:6])
    assert torch.equal(centre_square(clip[..., :4, 2:6], 4), clip[..., :4, 2:6])
    tall = clip.transpose(-1, -2)
    assert torch.equal(centre_square(tall, 5), tall[..., 1:6, :])
    halves = torch.zeros(1, 3, 1, 2, 2)
    halves[..., 1] = 1
    enlarged = centre_square(halves, 4).mul(255).round()[0, 0, 0, 0]
    assert enlarged.tolist() == [0, 64, 191, 255]  # at 1/4 and 3/4 between the centres


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let protocols take 9 clips of 3 frames of 8 pixels, in shards of 4."""

    def find(name: str, task: Any) -> object:
        protocol = find_protocol(name, task)
        held = None if protocol.reference_count is None else 9
        return replace(protocol, count=9, reference_count=held, sizes=((8, 8),), clip=RULE)

    for command in (generation_command, reconstruction_command):
        monkeypatch.setattr(command, "find_protocol", find)
        monkeypatch.setattr(command, "protocol_space", lambda *_: MeanCuboids())
    monkeypatch.setitem(feature_folders._OF_SHARD, "clip", 4)
    monkeypatch.setattr(tokenizer_arguments, "find_tokenizer", lambda *_: ClipOffset())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for index in range(9):
        video(tmp_path / "real" / "c" / f"{index}.mkv", greys(6, index, 10, 14), 25)
        for level in (1, 2):
            place = tmp_path / "samples" / f"level-{level}" / "c" / f"{index:05}.webp"
            animation(place, greys(4, 99 * level + index))
    return tmp_path


def statistics(folder: Path, name: str, *, real: bool) -> FeatureStatistics:
    protocol = replace(PROTOCOLS[name], sizes=((8, 8),), clip=RULE)
    clips = ProtocolClips(protocol, find_labelled([folder], media="clip"), real=real)
    return FeatureStatistics.of(MeanCuboids()(torch.cat([clip for _, clip in clips])))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.usefixtures("small")
def test_gfvd_and_two_jobs_as_one(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("generation", data / "samples", "--protocol", "ucf101-gfvd", "--weights", "x.pt")
    command = (*command, "--reference", data / "real")
    run(*command, "--output", data / "one")
    said = capsys.readouterr().out
    found = protocol_json(data / "one")
    real = statistics(data / "real", "ucf101-gfvd", real=True)
    for row, level in zip(found["values"], (1, 2), strict=True):
        sampled = statistics(data / "samples" / f"level-{level}", "ucf101-gfvd", real=False)
        assert row["frechet"] == pytest.approx(frechet_distance(sampled, real), rel=1e-4)
    assert found["rows"][1] == [
        *("samples, level 2", f"{found['values'][1]['frechet']:.2f}", "not run")
    ]
    assert f"- reference: {data / 'real'} (9 clips, SHA-256 " in said
    assert "- size: the square in the centre of real clips, resized to 8x8 (bilinear" in said

    two = data / "two"
    run(*command, "--output", two, "--jobs", 2, "--job", 0)
    assert capsys.readouterr().out == (
        f"job 0 of 2 is done: 3 of 9 shards are still missing in {two / 'features'}; nothing was "
        "measured. The last job measures, or any that is run again.\n"
    )
    assert [path.name for path in two.iterdir()] == ["features"]
    run(*command, "--output", two, "--jobs", 2, "--job", 1)
    assert contents(two) == contents(data / "one")


@pytest.mark.usefixtures("small")
def test_rfvd_and_two_jobs_as_one(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("reconstruction", "--protocol", "ucf101-rfvd", "--data", data / "real")
    command = (*command, "--tokenizer", "some", "--metrics", "psnr", "--weights", "x.pt")
    run(*command, "--output", data / "one")
    found = protocol_json(data / "one")
    protocol = replace(PROTOCOLS["ucf101-rfvd"], sizes=((8, 8),), clip=RULE)
    clips = ProtocolClips(protocol, find_labelled([data / "real"], media="clip"))
    originals = torch.cat([clip for _, clip in clips])
    decoded = ClipOffset().decode(originals).mul(255).round().div(255)
    # The offset is 0.1 * (16 / 8)^0 whatever the size.
    sides = [FeatureStatistics.of(MeanCuboids()(side)) for side in (decoded, originals)]
    assert found["values"][0]["frechet"] == pytest.approx(frechet_distance(*sides), rel=1e-4)
    assert found["rows"][0][1] == "20.00 ± 0.00"
    assert found["counts"] == {"clips": 9}
    rows = json.loads((data / "one" / "reconstruction.json").read_text())["rows"]
    assert [row["picture"] for row in rows] == [f"c/{index}.mkv" for index in range(9)]

    two = data / "two"
    capsys.readouterr()
    run(*command, "--output", two, "--jobs", 2, "--job", 1)
    assert capsys.readouterr().out.startswith("job 1 of 2 is done: 4 of 6 shards are still missing")
    assert [path.name for path in two.iterdir()] == ["features"]
    run(*command, "--output", two, "--jobs", 2, "--job", 0)
    assert contents(two) == contents(data / "one")


@pytest.mark.usefixtures("small")
def test_what_is_refused_before_anything_is_written(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data / "out"
    generation = ("generation", data / "samples", "--reference", data / "real", "--output", out)
    fvd = (*generation, "--protocol", "ucf101-gfvd")
    assert refusal(capsys, *fvd) == (
        "ucf101-gfvd needs the weights of I3D, but there is no `--weights`. Download "
        f"{I3D_ADDRESS} and give its path."
    )
    fvd = (*fvd, "--weights", "x.pt")
    assert refusal(capsys, *fvd, "--jobs", 2, "--job", 2) == (
        "`--job` must be between 0 and `--jobs` - 1, but is 2 of 2. "
        "The first of N jobs has the number 0."
    )
    assert refusal(capsys, *fvd, "--labels", "classes.csv") == (
        "ucf101-gfvd takes no notice of the classes of real clips, but there is `--labels` "
        "classes.csv. Leave it out."
    )
    shared = "`--jobs` shares features that a protocol keeps in files, but "
    assert refusal(capsys, *generation, "--jobs", 2) == (
        f"{shared}there is no `--protocol`. Leave it out."
    )
    said = refusal(capsys, *generation, "--protocol", "squeezenet128-gfd", "--jobs", 2)
    assert said == f"{shared}squeezenet128-gfd keeps none. Leave it out."
    kodak = ("reconstruction", "--protocol", "kodak", "--data", data / "real", "--jobs", 2)
    assert refusal(capsys, *kodak) == f"{shared}kodak keeps none. Leave it out."
    sample = data / "samples" / "level-2" / "c" / "00003.webp"
    animation(sample, greys(4, height=10))
    assert refusal(capsys, *fvd) == (
        f"Clips of ucf101-gfvd must have 8x8 pixels, but {sample} has 8x10. "
        "Give those of that size; it never resizes samples."
    )
    sample.unlink()
    assert refusal(capsys, *fvd) == (
        "ucf101-gfvd takes 9 samples at each level, as distances depend on the number, but there "
        "are 8. Give as many, or leave `--protocol` out."
    )
    broken = data / "real" / "c" / "8.mkv"
    broken.write_bytes(b"")
    reconstruction = ("reconstruction", "--protocol", "ucf101-rfvd", "--data", data / "real")
    said = refusal(capsys, *reconstruction, "--weights", "x.pt", "--output", out)
    assert said.startswith(f"The input must be a whole clip that PyAV can read, but {broken} is ")
    broken.unlink()
    said = refusal(capsys, *reconstruction, "--weights", "x.pt", "--output", out)
    assert said.startswith("ucf101-rfvd takes 9 clips, as distances depend on the number, but ")
    assert not out.exists()
