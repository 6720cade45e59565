"""Both scales of a step have one patch grid, and what is drawn is what was asked for."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import gcd
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.geometry import frames_at_rate, patch_counts, segment_frames
from dcs_common.training import seeded_generator
from dcs_tok.data import ScaleConfig
from dcs_tok.data.geometry import (
    STEPS_PER_BLOCK,
    draw_geometry,
    geometry_of_step,
    kind_of_step,
    scaled_size,
)

from .errors import error

sides = st.integers(1, 40)


@given(aspect=st.tuples(sides, sides), patches=sides, extra=st.lists(st.integers(0, 300)))
def test_all_scales_of_an_aspect_have_its_grid(
    aspect: tuple[int, int], patches: int, extra: list[int]
) -> None:
    whole = patches * max(aspect) // gcd(*aspect)
    grid = patch_counts((whole * aspect[0], whole * aspect[1]), patches)
    for short_side in (patches, *(patches + more for more in extra)):
        size = scaled_size(aspect, short_side, patches)
        assert min(size) == short_side
        assert patch_counts(size, patches) == grid
        assert size[::-1] == scaled_size(aspect[::-1], short_side, patches)


@given(aspect=st.tuples(sides, sides), patches=sides, extra=st.integers(0, 100))
def test_no_other_size_of_the_grid_is_nearer_to_the_aspect(
    aspect: tuple[int, int], patches: int, extra: int
) -> None:
    short_side = patches + extra
    exact = Fraction(short_side * max(aspect), min(aspect))
    long_side = max(scaled_size(aspect, short_side, patches))
    grid = patch_counts((short_side, long_side), patches)
    for other in range(max(short_side, long_side - 3), long_side + 4):
        if patch_counts((short_side, other), patches) == grid:
            assert abs(long_side - exact) <= abs(other - exact)


@pytest.mark.parametrize(
    ("aspect", "short_side", "patches", "size"),
    [
        ((1, 1), 256, 16, (256, 256)),
        ((3, 4), 256, 16, (256, 341)),
        ((4, 3), 720, 16, (960, 720)),
        ((9, 16), 720, 16, (720, 1280)),
        ((9, 16), 16, 16, (16, 28)),
        ((2, 3), 5, 5, (5, 8)),
        ((1, 1), 7, 7, (7, 7)),
    ],
)
def test_sizes_by_hand(
    aspect: tuple[int, int], short_side: int, patches: int, size: tuple[int, int]
) -> None:
    assert scaled_size(aspect, short_side, patches) == size


WIDE = ScaleConfig(
    short_sides=(7, 12, 30),
    aspects=((1, 1), (3, 4), (2, 1)),
    patches=(5, 11),
    asymmetric=True,
    clip_share=0.5,
    fps=(12, "30000/1001", 60),
    clip_seconds=0.5,
)


@given(seed=st.integers(0, 2**40), clips=st.booleans(), asymmetric=st.booleans())
def test_both_scales_of_a_step_share_their_grid(seed: int, clips: bool, asymmetric: bool) -> None:
    config = replace(WIDE, asymmetric=asymmetric)
    drawn = draw_geometry(config, seeded_generator(seed), "clip" if clips else "picture")
    assert patch_counts(drawn.size, drawn.patches) == patch_counts(drawn.target_size, drawn.patches)
    assert min(drawn.size) in config.short_sides
    assert min(*drawn.size, *drawn.target_size) >= drawn.patches
    if not asymmetric:
        assert drawn.is_symmetric
        assert drawn.frames == drawn.target_frames
    if not clips:
        assert (drawn.fps, drawn.target_fps, drawn.frames, drawn.target_frames) == (
            None,
            None,
            1,
            1,
        )
        return
    assert drawn.fps is not None
    assert drawn.target_fps is not None
    assert drawn.target_frames == frames_at_rate(drawn.frames, drawn.fps, drawn.target_fps)
    segments = segment_frames(drawn.frames, drawn.fps, 6)
    segment_frames(drawn.target_frames, drawn.target_fps, 6, segments=len(segments))  # they fit


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"),
    [(2 / 3, 24, 16), (2 / 3, 12, 8), (2 / 3, "30000/1001", 20), (1, 25, 25), (0.01, 24, 1)],
)
def test_frames_of_a_window(seconds: float, fps: Any, frames: int) -> None:
    config = ScaleConfig(short_sides=(16,), fps=(fps,), clip_seconds=seconds)
    assert draw_geometry(config, seeded_generator(0), "clip").frames == frames


def test_everything_that_was_asked_for_is_drawn_alike_often() -> None:
    drawn = [draw_geometry(WIDE, seeded_generator(i), "clip") for i in range(600)]
    assert {one.patches for one in drawn} == {5, 11}
    small = [one for one in drawn if one.patches == 5]
    large = [one for one in drawn if one.patches == 11]
    for some, count in ((small, 9), (large, 4)):
        pairs = Counter((min(one.size), min(one.target_size)) for one in some)
        assert len(pairs) == count
        assert min(pairs.values()) > len(some) / count / 2
        assert max(pairs.values()) < len(some) / count * 2
    assert len(Counter((one.fps, one.target_fps) for one in drawn)) == 9
    sizes = {scaled_size(aspect, side, 5) for aspect in WIDE.aspects for side in WIDE.short_sides}
    assert {one.size for one in small} == sizes == {one.target_size for one in small}


@given(
    share=st.sampled_from([0.0, 1.0, 0.5, 0.25, 0.1, 1 / 3, 0.99]),
    seed=st.integers(0, 2**40),
    step=st.integers(0, 10**6),
)
def test_steps_before_are_counted_and_keep_their_share(share: float, seed: int, step: int) -> None:
    kinds = [kind_of_step(share, seed, step + i) for i in range(2 * STEPS_PER_BLOCK)]
    before = {"clip": None, "picture": None}
    for i, (kind, count) in enumerate(kinds):
        if before[kind] is not None:
            assert count == before[kind] + 1
        before[kind] = count
        clips = count if kind == "clip" else step + i - count
        assert abs(clips - share * (step + i)) <= STEPS_PER_BLOCK
    assert kind_of_step(share, seed, 0)[1] == 0
    clips = sum(kind_of_step(share, seed, i)[0] == "clip" for i in range(STEPS_PER_BLOCK))
    assert clips == int(STEPS_PER_BLOCK * Fraction(share))


def test_the_order_of_kinds_is_drawn() -> None:
    orders = {
        tuple(kind_of_step(0.5, seed, i)[0] for i in range(first, first + STEPS_PER_BLOCK))
        for seed in range(3)
        for first in (0, STEPS_PER_BLOCK)
    }
    assert len(orders) == 6


def test_a_step_has_one_geometry_and_others_have_others() -> None:
    steps = [geometry_of_step(WIDE, 5, step)[0] for step in range(30)]
    assert steps == [geometry_of_step(WIDE, 5, step)[0] for step in range(30)]
    assert len(set(steps)) > 15
    assert steps != [geometry_of_step(WIDE, 6, step)[0] for step in range(30)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"short_sides": ()},
            "`short_sides` must not be empty, but is (). Give at least one value.",
        ),
        (
            {"short_sides": (16, 0)},
            "`short_sides` must be at least 1, but are (16, 0). Remove the others.",
        ),
        ({"patches": (-1,)}, "`patches` must be at least 1, but are (-1,). Remove the others."),
        (
            {"aspects": ((1, 1), (0, 4))},
            "`aspects` must be pairs of positive integers, but hold (0, 4). "
            "Give height and width, such as (3, 4).",
        ),
        ({"crop": "center"}, "`crop` must be 'largest' or 'native', but is 'center'."),
        ({"clip_share": 1.5}, "`clip_share` must be in [0, 1], but is 1.5."),
        ({"clip_seconds": 0.0}, "`clip_seconds` must be a positive duration, but is 0.0."),
        (
            {"fps": (24, -5)},
            "`fps` must be a positive frame rate, but is -5. "
            "Give frames per second as a number or a fraction such as '30000/1001'.",
        ),
        (
            {"short_sides": (8, 15)},
            "A short side must have at least one pixel per patch, but `short_sides` are (8, 15) "
            "and `patches` (16,). Give larger sides or fewer patches.",
        ),
    ],
)
def test_scales_that_cannot_be_drawn(changed: dict[str, Any], message: str) -> None:
    with error(message):
        ScaleConfig(**{"short_sides": (16,), **changed})
