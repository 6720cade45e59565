"""Frames of one clip at two rates: both end with the same frame (Fig. 14b)."""

from fractions import Fraction as F

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.geometry import frames_at_rate
from dcs_common.resample import tail_aligned_frames

RATES = st.one_of(
    st.sampled_from((F(2997, 100), F(30000, 1001), F(60000, 1001), F(24000, 1001))),
    st.integers(6, 120).map(F),
    st.fractions(6, 120, max_denominator=99),
)
FRAMES = st.integers(1, 60)


@given(frames=FRAMES, fps=RATES, target=RATES)
def test_the_last_frame_is_kept_and_time_runs_forward(frames: int, fps: F, target: F) -> None:
    chosen = tail_aligned_frames(frames, fps, target)
    assert len(chosen) == frames_at_rate(frames, fps, target)
    assert chosen[-1] == frames - 1
    assert chosen[0] >= 0
    assert chosen == sorted(chosen)


@given(frames=FRAMES, fps=RATES)
def test_the_same_rate_gives_the_same_frames(frames: int, fps: F) -> None:
    assert tail_aligned_frames(frames, fps, fps) == list(range(frames))


@given(frames=FRAMES, fps=RATES, target=RATES)
def test_each_frame_is_the_nearest_in_time(frames: int, fps: F, target: F) -> None:
    chosen = tail_aligned_frames(frames, fps, target)
    for i, frame in enumerate(chosen):
        wanted = frames - 1 - (len(chosen) - 1 - i) * fps / target
        distances = [abs(wanted - other) for other in range(frames)]
        assert abs(wanted - frame) == min(distances)
        later = distances[frame + 1 : frame + 2]
        assert not later or later[0] > min(distances)  # a tie takes the later frame


@pytest.mark.parametrize(
    ("frames", "fps", "target", "chosen"),
    [
        (8, 24, 12, [1, 3, 5, 7]),
        (7, 24, 12, [0, 2, 4, 6]),
        (3, 12, 24, [0, 0, 1, 1, 2, 2]),  # halves, taken late
        (6, 25, 50, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (10, 30, 24, [0, 2, 3, 4, 5, 7, 8, 9]),
        (5, 120, 6, [4]),
    ],
)
def test_frames_of_small_clips(frames: int, fps: int, target: int, chosen: list[int]) -> None:
    assert tail_aligned_frames(frames, F(fps), F(target)) == chosen
