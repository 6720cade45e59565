"""Scale decides how many pixels a patch holds, never the latent: any size and rate, in and out."""

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from dcs_tok.config import DCSTokConfig

from .tiny_models import (
    CHANNELS,
    CONFIGS,
    LEVELS,
    NAMES,
    PATCHES,
    SEGMENTS_PER_SECOND,
    model,
    perturbed,
    random_pixels,
)

RATES = [6, 12, 23.976, 24, 25, 29.97, "30000/1001", 48, 50, 59.94, 60, 119.88, 120]


@given(
    name=st.sampled_from(NAMES),
    short=st.integers(PATCHES, 7),
    long=st.integers(PATCHES, 13),
    times=st.integers(1, 5),
)
def test_every_multiple_of_a_size_has_the_same_latent_shape(
    name: str, short: int, long: int, times: int
) -> None:
    tok = model(name)
    size = (max(short, long), min(short, long)) if times % 2 else (short, long)
    small = tok.encode(random_pixels(1, 3, *size), levels=1)
    large = tok.encode(random_pixels(1, 3, *(times * extent for extent in size)), levels=1)
    assert large.tokens.shape == small.tokens.shape
    assert (small.patches, large.patches) == (PATCHES, PATCHES)


@given(
    name=st.sampled_from(NAMES),
    segments=st.integers(1, 4),
    frames=st.lists(st.integers(0, 9), min_size=2, max_size=2),
)
def test_whole_segments_have_the_same_latent_shape_at_every_rate(
    name: str, segments: int, frames: list[int]
) -> None:
    tok = model(name)
    shapes = set()
    for extra in frames:
        count = segments + extra  # frames in `segments` segments
        fps = Fraction(count * SEGMENTS_PER_SECOND, segments)
        shapes.add(tok.encode(random_pixels(1, 3, count, 3, 4), fps, levels=1).tokens.shape)
    assert shapes == {(1, segments, 3, 4, 1, CHANNELS)}


def _video(name: str) -> DCSTokConfig:
    """The paper's six segments per second."""
    return replace(CONFIGS[name](), segments_per_second=6)


VIDEO_MODELS = {name: perturbed(_video(name), torch.float32) for name in NAMES}


@given(
    name=st.sampled_from(NAMES),
    frames=st.integers(1, 11),
    fps=st.sampled_from(RATES) | st.fractions(6, 120, max_denominator=1001),
    target=st.sampled_from(RATES) | st.fractions(6, 120, max_denominator=1001),
)
@example(name="paper", frames=3, fps=11, target=7)  # steps over the partial first segment
@example(name="nano", frames=3, fps=11, target=7)
@example(name="nano", frames=1, fps=59.94, target=6)
def test_clips_of_any_rate_decode_at_any_rate_to_exactly_the_asked_frames(
    name: str, frames: int, fps: float | str | Fraction, target: float | str | Fraction
) -> None:
    tok = VIDEO_MODELS[name]
    rate, target_rate = (
        Fraction(value).limit_denominator(100_000) if isinstance(value, float) else Fraction(value)
        for value in (fps, target)
    )
    clip = random_pixels(1, 3, frames, 5, 4, dtype=torch.float32)
    latents = tok.encode(clip, fps=fps, levels=2)
    assert latents.grid == (floor((frames - 1) * 6 / rate) + 1, 4, 3)
    expected = max(1, ceil(frames * target_rate / rate))
    decoded = tok.decode(latents, fps=target)
    assert decoded.shape == (1, 3, expected, 5, 4)
    assert ((decoded >= 0) & (decoded <= 1)).all()
    assert tok.decode(latents).shape == clip.shape


LARGE = perturbed(CONFIGS["nano"](), torch.float32)  # cost does not grow faster than pixels


def _extents() -> st.SearchStrategy[int]:
    return st.integers(16, 64) | st.integers(16, 500) | st.integers(16, 2000)


@given(height=_extents(), width=_extents(), out_height=_extents(), out_width=_extents())
@example(height=2000, width=1999, out_height=16, out_width=17)
@example(height=16, width=16, out_height=1993, out_width=2000)
@example(height=16, width=2000, out_height=2000, out_width=2000)
@example(height=1999, width=17, out_height=1999, out_width=1999)
def test_pictures_of_any_size_decode_to_exactly_any_size(
    height: int, width: int, out_height: int, out_width: int
) -> None:
    pixels = random_pixels(1, 3, height, width, dtype=torch.float32)
    latents = LARGE.encode(pixels, levels=1, patches=1)
    short, long = sorted((height, width))
    long_patches = floor(Fraction(long, short) + Fraction(1, 2))
    rows, columns = (1, long_patches) if width >= height else (long_patches, 1)
    assert latents.grid == (1, rows, columns)
    for size in ((height, width), (max(out_height, rows), max(out_width, columns))):
        decoded = LARGE.decode(latents, size=size)
        assert decoded.shape == (1, 3, *size)
        assert ((decoded >= 0) & (decoded <= 1)).all()
    assert LARGE.decode(latents).shape == pixels.shape


@given(name=st.sampled_from(NAMES), height=st.integers(3, 41), width=st.integers(3, 41))
def test_all_kinds_of_models_take_and_give_odd_sizes(name: str, height: int, width: int) -> None:
    tok = model(name)
    latents = tok.encode(random_pixels(1, 3, height, width), levels=2, patches=2)
    assert latents.patches == 2
    assert latents.size == (height, width)
    assert tok.decode(latents).shape == (1, 3, height, width)
    # Another aspect ratio keeps the grid: patches become wider or narrower.
    rows, columns = latents.grid[1:]
    assert tok.decode(latents, size=(rows, 2 * columns)).shape == (1, 3, rows, 2 * columns)


@pytest.mark.parametrize("name", NAMES)
def test_patches_sets_how_many_lie_along_the_short_side(name: str) -> None:
    tok, pixels = model(name), random_pixels(1, 3, 22, 11)
    for patches in (1, 2, 5, 11):
        latents = tok.encode(pixels, patches=patches, levels=LEVELS)
        assert latents.grid == (1, 2 * patches, patches)
        assert latents.patches == patches
        assert tok.decode(latents).shape == pixels.shape
    assert tok.encode(pixels).patches == PATCHES


@pytest.mark.parametrize("name", NAMES)
def test_a_start_anchored_clip_fills_its_first_segment(name: str) -> None:
    tok = model(name)
    clip = random_pixels(1, 3, 7, 5, 7)  # three frames to a segment at 6 fps, one too many
    end, start = (tok.encode(clip, fps=6, anchor=anchor) for anchor in ("end", "start"))
    assert (end.phase, start.phase) == (0, Fraction(2, 3))
    assert end.grid == start.grid == (3, 3, 4)
    changed = clip.clone()
    changed[:, :, 2] = 1 - changed[:, :, 2]  # the first segment holds it only where it is full
    for anchor, latents, is_first in (("end", end, False), ("start", start, True)):
        tokens = tok.encode(changed, fps=6, anchor=anchor).tokens
        assert bool((tokens != latents.tokens)[:, 0].any()) == is_first
    for fps, frames in ((6, 7), (12, 14), (3, 4)):
        assert tok.decode(start, fps=fps).shape == (1, 3, frames, 5, 7)


@pytest.mark.parametrize("name", NAMES)
def test_anchoring_changes_nothing_for_whole_segments_and_pictures(name: str) -> None:
    tok = model(name)
    for pixels, fps in ((random_pixels(1, 3, 6, 5, 7), 6), (random_pixels(1, 3, 5, 7), None)):
        end, start = (tok.encode(pixels, fps, anchor=anchor) for anchor in ("end", "start"))
        assert end.phase == start.phase == 0
        assert torch.equal(end.tokens, start.tokens)
