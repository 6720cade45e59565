"""What the geometry refuses, and the whole of what it says."""

import re
from collections.abc import Callable
from fractions import Fraction as F

import pytest

from dcs_common.geometry import (
    PatchGrid,
    exact_rate,
    patch_counts,
    segment_frames,
    source_grid,
)

ONE_FRAME = segment_frames(1, None, 6)
PHASE = "Take it from `start_anchored_phase`, or leave it out."
FIT = "Correct the number of frames or the rate."


@pytest.mark.parametrize(
    "rate",
    [0, -24, 0.0, 1e-9, float("nan"), float("inf"), "fast", "1/0", "-3/2", None, [24], F(0)],
    ids=repr,
)
def test_rates_must_be_positive_and_finite(rate: object) -> None:
    message = (
        f"`fps` must be a positive frame rate, but is {rate!r}. "
        "Give frames per second as a number or a fraction such as '30000/1001'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        exact_rate(rate)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patch_counts((8, 8), 0), "`patches` must be at least 1, but is 0."),
        (
            lambda: patch_counts((31, 15), 16),
            "The shorter side must have at least one pixel per patch, but 15x31 has 15 pixels for "
            "16 patches. Enlarge the picture or lower `patches`.",
        ),
        (
            lambda: source_grid((7, 500), 1, None, patches=8, segments_per_second=6),
            "The shorter side must have at least one pixel per patch, but 500x7 has 7 pixels for "
            "8 patches. Enlarge the picture or lower `patches`.",
        ),
        (
            lambda: PatchGrid((4, 100), 5, 7, ONE_FRAME),
            "A grid of 7x5 patches needs at least one pixel per patch, but the size is 100x4. "
            "Ask for a larger size or use fewer `patches`.",
        ),
        (
            lambda: PatchGrid((100, 6), 5, 7, ONE_FRAME),
            "A grid of 7x5 patches needs at least one pixel per patch, but the size is 6x100. "
            "Ask for a larger size or use fewer `patches`.",
        ),
        (lambda: segment_frames(0, F(24), 6), "`frames` must be at least 1, but is 0."),
        (lambda: segment_frames(-3, None, 6), "`frames` must be at least 1, but is -3."),
        (
            lambda: segment_frames(5, None, 6),
            "A clip needs its frame rate, but `fps` is None for 5 frames. Pass `fps`.",
        ),
        (
            lambda: segment_frames(5, F(11, 2), 6),
            "`fps` must be at least 6 (one frame per segment), but is 5.5. "
            "Use a rate of 6 or more, or a model with fewer segments per second.",
        ),
        (
            lambda: segment_frames(5, F(24), 6, F(1)),
            f"`phase` must be a part of a segment in [0, 1), but is 1. {PHASE}",
        ),
        (
            lambda: segment_frames(5, F(24), 6, F(-1, 2)),
            f"`phase` must be a part of a segment in [0, 1), but is -1/2. {PHASE}",
        ),
        (
            lambda: segment_frames(13, F(24), 6, segments=2),
            f"The frames must fit the 2 segments, but 13 frames at 24 fps make 4. {FIT}",
        ),
        (
            lambda: segment_frames(4, F(25, 2), 6, segments=4),
            f"The frames must fit the 4 segments, but 4 frames at 12.5 fps make 2. {FIT}",
        ),
    ],
)
def test_errors_teach(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_the_smallest_things_are_allowed() -> None:
    assert patch_counts((16, 16), 16) == (16, 16)
    assert PatchGrid((5, 7), 5, 7, ONE_FRAME).shape == (1, 5, 7)
    assert len(segment_frames(5, F(6), 6)) == 5
    assert len(segment_frames(12, F(24), 6, segments=2)) == 2  # one segment too long is allowed
