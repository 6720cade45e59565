"""A file is of the quality, size or PSNR that was asked for, or the refusal says what can be."""

import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common import psnr
from dcs_tok.compression.codec import decompress
from dcs_tok.compression.compress import compress
from dcs_tok.compression.container import read_file

from .errors import error
from .small_codec import small_tok, waves

PICTURE = waves(24, 29)


def in_8_bits(data: bytes) -> torch.Tensor:
    return decompress(data, model=small_tok()).mul(255).round().div(255)


def smallest(pixels: torch.Tensor, **options: object) -> int:
    with pytest.raises(ValueError) as raised:
        compress(pixels, small_tok(), max_bytes=1, **options)
    match = re.fullmatch(
        "The bytes must be enough for the smallest file of this picture, ([0-9]+), but are 1. Ask "
        "for more, or for fewer levels.",
        str(raised.value),
    )
    assert match, raised.value
    return int(match[1])


@given(limit=st.integers(20, 2500))
def test_bytes_are_never_exceeded(limit: int) -> None:
    try:
        data = compress(PICTURE, small_tok(), max_bytes=limit)
    except ValueError:
        assert limit < smallest(PICTURE)
    else:
        assert len(data) <= limit


def test_the_smallest_file_is_one_that_is_made() -> None:
    least = smallest(PICTURE)
    assert len(compress(PICTURE, small_tok(), max_bytes=least)) <= least
    with error(
        f"The bytes must be enough for the smallest file of this picture, {least}, but are "
        f"{least - 1}. Ask for more, or for fewer levels."
    ):
        compress(PICTURE, small_tok(), max_bytes=least - 1)
    assert smallest(PICTURE, patches=8) >= least


def test_more_bytes_buy_a_better_picture() -> None:
    found = []
    for limit in (40, 80, 160, 320, 640, 1280):
        data = compress(PICTURE, small_tok(), max_bytes=limit)
        found.append(psnr(in_8_bits(data), PICTURE))
    assert all(after > before for before, after in pairwise(found))
    assert found[-1] > found[0] + 10


@pytest.mark.parametrize("limit", [300, 600, 1200])
def test_bytes_are_used(limit: int) -> None:
    """Of a fixed number of patches, to 1.5 % or until the next step would not fit."""
    data = compress(PICTURE, small_tok(), max_bytes=limit, patches=6)
    quality = read_file(data).header.quality
    assert data == compress(PICTURE, small_tok(), quality=quality, patches=6)
    if len(data) <= 0.985 * limit:
        assert len(compress(PICTURE, small_tok(), quality=quality + 1, patches=6)) > limit


@pytest.mark.parametrize("bpp", [0.7, 2.0, 8])
def test_bits_per_pixel_are_bytes(bpp: float) -> None:
    limit = int(bpp * 24 * 29 / 8)
    assert compress(PICTURE, small_tok(), bpp=bpp) == compress(
        PICTURE, small_tok(), max_bytes=limit
    )


def test_bits_per_pixel_of_a_clip_are_those_of_all_frames() -> None:
    clip = torch.stack([waves(12, 12, seed=i) for i in range(6)], dim=2)
    data = compress(clip, small_tok(), bpp=2.0, fps=4)
    assert 0.8 * 6 * 12 * 12 * 2 / 8 < len(data) <= 6 * 12 * 12 * 2 / 8


@pytest.mark.parametrize("name", ["bpp", "max_bytes"])
@pytest.mark.parametrize("value", [1e-6, 0.001])
def test_less_than_a_byte_is_too_little(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"^The bytes must be enough for the smallest file"):
        compress(PICTURE, small_tok(), **{name: value})


@pytest.mark.parametrize("target", [15, 20.5, 26, 33, 40])
def test_a_psnr_is_reached_by_the_file_in_8_bits(target: float) -> None:
    data = compress(PICTURE, small_tok(), psnr=target)
    found = psnr(in_8_bits(data), PICTURE)
    assert found >= target
    header = read_file(data).header
    patches, quality = min(header.levels.shape[1:]), header.quality
    if quality:
        worse = compress(PICTURE, small_tok(), quality=quality - 1, patches=patches)
        assert psnr(in_8_bits(worse), PICTURE) < target


def test_a_psnr_out_of_reach_names_the_best() -> None:
    with pytest.raises(ValueError) as raised:
        compress(PICTURE, small_tok(), psnr=90)
    match = re.fullmatch(
        "`psnr` must be one that a file of this picture can reach, but is 90. The best that was "
        "found is ([0-9.]+) dB. Ask for that or less.",
        str(raised.value),
    )
    assert match, raised.value
    best = float(match[1])
    found = psnr(in_8_bits(compress(PICTURE, small_tok(), psnr=best - 0.01)), PICTURE)
    assert best - 0.01 <= found <= best + 0.5


@pytest.mark.parametrize("value", [0.0, 1.0, 128 / 255])
def test_a_picture_that_comes_back_exactly_reaches_any_psnr(value: float) -> None:
    pixels = torch.full((1, 3, 12, 13), value)
    data = compress(pixels, small_tok(), psnr=60)
    assert psnr(in_8_bits(data), pixels) > 60
    assert len(data) < 100


@pytest.mark.parametrize("levels", [1, 2])
def test_fewer_levels_reach_less(levels: int) -> None:
    with pytest.raises(ValueError) as raised:
        compress(PICTURE, small_tok(), psnr=90, levels=levels, patches=6)
    fewer = float(re.search("found is ([0-9.]+) dB", str(raised.value))[1])
    with pytest.raises(ValueError) as raised:
        compress(PICTURE, small_tok(), psnr=90, levels=levels + 1, patches=6)
    assert fewer < float(re.search("found is ([0-9.]+) dB", str(raised.value))[1])


def test_quality_buys_psnr_with_bytes() -> None:
    sizes, found = [], []
    for quality in range(0, 101, 10):
        data = compress(PICTURE, small_tok(), quality=quality, patches=6)
        assert read_file(data).header.quality == quality
        sizes.append(len(data))
        found.append(psnr(decompress(data, model=small_tok()), PICTURE))
    assert sizes == sorted(sizes)
    assert all(after > before - 0.1 for before, after in pairwise(found))
    assert found[-1] > found[0] + 20


def test_the_default_quality_is_48() -> None:
    assert compress(PICTURE, small_tok()) == compress(PICTURE, small_tok(), quality=48)


def test_trials_are_reported() -> None:
    lines: list[str] = []
    data = compress(PICTURE, small_tok(), psnr=25, patches=6, report=lines.append)
    assert lines
    pattern = r"6 patches, quality [0-9]+: ([0-9]+) bytes, ([0-9.]+) dB"
    trials = [re.fullmatch(pattern, line) for line in lines]
    assert all(trials)
    assert (len(data), psnr(in_8_bits(data), PICTURE)) in [
        (int(t[1]), pytest.approx(float(t[2]), abs=0.006)) for t in trials
    ]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"quality": 40, "bpp": 1}, "`quality` and `bpp`"),
        ({"max_bytes": 90, "psnr": 30}, "`max_bytes` and `psnr`"),
        ({"quality": 4, "bpp": 1, "psnr": 30}, "`quality` and `bpp` and `psnr`"),
    ],
)
def test_two_targets(targets: dict[str, float], message: str) -> None:
    with error(f"At most one target must be given, but {message} are. Keep one."):
        compress(PICTURE, small_tok(), **targets)


@pytest.mark.parametrize("name", ["bpp", "max_bytes", "psnr"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_targets_are_positive_and_finite(name: str, value: float) -> None:
    with error(f"`{name}` must be positive and finite, but is {value}."):
        compress(PICTURE, small_tok(), **{name: value})
