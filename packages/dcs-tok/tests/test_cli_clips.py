"""``dcs-tok encode`` and ``decode`` of clips, at any rate and size."""

from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest
import torch

from dcs_common import Latents
from dcs_common.psnr import psnr
from dcs_tok import DCSTok
from dcs_tok.clips import read_clip

from .clip_files import clip_file
from .commands import Command, save_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return clip_file(tmp_path / "clip.mp4", 13, 20, 34, 24)


def test_encode_writes_what_the_model_encodes(
    tiny: Path, command: Command, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "latents"
    said = command.line("encode", clip, out, "--model", tiny, "--levels", 3)
    assert said == (
        f"wrote {out}: 2 x 3 x 5 patches, 3 levels of 7 channels, {out.stat().st_size} bytes"
    )
    latents = Latents.load(out)
    expected = DCSTok.from_pretrained(tiny).encode(read_clip(clip).pixels, 24, 3)
    torch.testing.assert_close(latents.tokens, expected.tokens, rtol=0, atol=1e-5)
    assert (latents.size, latents.fps, latents.frames) == ((20, 34), 24, 13)


@pytest.mark.parametrize(("frames", "count"), [("4:9", 5), (":2", 2), ("12:", 1), ("3:99", 10)])
def test_encode_takes_a_range_of_frames(
    frames: str, count: int, tiny: Path, command: Command, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "latents"
    command.line("encode", clip, out, "--model", tiny, "--frames", frames)
    latents = Latents.load(out)
    assert latents.frames == count
    first = int(frames.split(":")[0] or 0)
    part = read_clip(clip, first, first + count).pixels
    expected = DCSTok.from_pretrained(tiny).encode(part, 24)
    torch.testing.assert_close(latents.tokens, expected.tokens, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fps", [None, "24", "25", "29.97", "30000/1001", "60", "7", "2"])
@pytest.mark.parametrize("size", [None, (19, 47)])
def test_decode_gives_exactly_the_asked_frames_and_size(
    size: tuple[int, int] | None,
    fps: str | None,
    tiny: Path,
    command: Command,
    clip: Path,
    tmp_path: Path,
) -> None:
    latents, out = tmp_path / "latents", tmp_path / "out.mp4"
    DCSTok.from_pretrained(tiny).encode(read_clip(clip).pixels, 24).save(latents)
    options = [] if fps is None else ["--fps", fps]
    options += [] if size is None else ["--size", f"{size[1]}x{size[0]}"]
    said = command.line("decode", latents, out, "--model", tiny, *options)
    height, width = size or (20, 34)
    count = max(1, ceil(13 * Fraction(fps or 24) / 24))
    assert said == (
        f"wrote {out}: {width}x{height}, {count} frames at {fps or 24} fps from 5 levels, "
        f"{out.stat().st_size} bytes"
    )
    decoded = read_clip(out)
    assert decoded.pixels.shape == (1, 3, count, height, width)
    assert decoded.fps == Fraction(fps or 24)


def test_decode_writes_what_the_model_decodes(
    tiny: Path, command: Command, clip: Path, tmp_path: Path
) -> None:
    tok = DCSTok.from_pretrained(tiny)
    latents = tok.encode(read_clip(clip).pixels, 24)
    latents.save(tmp_path / "latents")
    out = tmp_path / "out.mkv"
    odd = (21, 35)  # no chroma is lost
    options = ("--levels", 2, "--size", "35x21")
    command.line("decode", tmp_path / "latents", out, "--model", tiny, *options)
    found = read_clip(out).pixels.float()
    whole, coarse = (tok.decode(latents, odd, levels=levels) for levels in (5, 2))
    assert psnr(found, coarse) > 25
    assert psnr(found, coarse) > psnr(found, whole) + 10


def test_the_bundled_model_rebuilds_a_clip(command: Command, tmp_path: Path) -> None:
    clip = clip_file(tmp_path / "clip.mp4", 7, 25, 27, "30000/1001")
    latents, out = tmp_path / "latents", tmp_path / "out.mp4"
    said = command.line("encode", clip, latents)
    assert said.startswith(f"wrote {latents}: 2 x 16 x 17 patches, 8 levels of 16 channels, ")
    said = command.line("decode", latents, out)
    assert said.startswith(f"wrote {out}: 27x25, 7 frames at 30000/1001 fps from 8 levels, ")
    source, decoded = read_clip(clip), read_clip(out)
    assert decoded.fps == source.fps
    assert psnr(decoded.pixels, source.pixels) > 25
