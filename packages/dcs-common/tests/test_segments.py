"""Which frames lie in which segment, and when (Sec. 6.2, Fig. 14b)."""

from fractions import Fraction as F

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.geometry import Segment, exact_rate, segment_frames, start_anchored_phase

ODD_RATES = (F(25), F(2997, 100), F(30000, 1001), F(5994, 100), F(60000, 1001), F(24000, 1001))
RATES = st.one_of(
    st.sampled_from(ODD_RATES), st.integers(6, 120).map(F), st.fractions(6, 120, max_denominator=99)
)
FRAMES = st.integers(1, 60)


@pytest.mark.parametrize(("fps", "per_segment"), [(24, 4), (12, 2), (60, 10), (6, 1)])
def test_rates_of_the_paper_fill_every_segment(fps: int, per_segment: int) -> None:
    segments = segment_frames(5 * per_segment, F(fps), 6)
    assert [(s.start, s.stop) for s in segments] == [
        (i * per_segment, (i + 1) * per_segment) for i in range(5)
    ]


def test_times_at_24_fps_are_quarters() -> None:
    quarters = (F(1, 4), F(1, 2), F(3, 4), F(1))
    assert segment_frames(8, F(24), 6) == (Segment(0, 4, quarters), Segment(4, 8, quarters))


def test_times_at_30_and_25_fps() -> None:
    fifths = tuple(F(i, 5) for i in (1, 2, 3, 4, 5))
    assert segment_frames(10, F(30), 6) == (Segment(0, 5, fifths), Segment(5, 10, fifths))
    assert segment_frames(6, F(25), 6) == (
        Segment(0, 1, (F(20, 25),)),
        Segment(1, 6, tuple(F(i, 25) for i in (1, 7, 13, 19, 25))),
    )


def test_image_is_one_frame_at_one() -> None:
    assert segment_frames(1, None, 6) == (Segment(0, 1, (F(1),)),)
    assert segment_frames(1, F(24), 6) == segment_frames(1, None, 6)


@given(frames=FRAMES, fps=RATES)
def test_last_frame_lies_at_one_exactly(frames: int, fps: F) -> None:
    assert segment_frames(frames, fps, 6)[-1].times[-1] == 1


@given(frames=FRAMES, fps=RATES, k_t=st.integers(1, 6))
def test_number_of_segments_is_the_formula(frames: int, fps: F, k_t: int) -> None:
    assert len(segment_frames(frames, fps, k_t)) == (frames - 1) * k_t // fps + 1


@given(frames=FRAMES, fps=RATES, start=st.booleans())
def test_frames_lie_where_the_clock_says(frames: int, fps: F, start: bool) -> None:
    """From the seconds before the clip's end, independently of the code's bookkeeping."""
    phase = start_anchored_phase(frames, fps, 6) if start else F(0)
    segments = segment_frames(frames, fps, 6, phase)
    seen = []
    for index, segment in enumerate(segments):
        assert len(segment.times) == segment.stop - segment.start > 0
        for frame, time in zip(range(segment.start, segment.stop), segment.times, strict=True):
            seen.append(frame)
            assert 0 < time <= 1
            seconds_before_end = (frames - 1 - frame) / fps
            assert index + time == len(segments) - phase - 6 * seconds_before_end
    assert seen == list(range(frames))


@given(fps=RATES)
def test_full_segments_differ_by_one_frame_at_most(fps: F) -> None:
    counts = [len(s.times) for s in segment_frames(60, fps, 6)]
    full = counts[1:]
    if full:
        assert max(full) - min(full) <= 1
        assert counts[0] <= max(full)


@pytest.mark.parametrize("fps", ODD_RATES)
def test_odd_rates_share_frames_out_evenly(fps: F) -> None:
    """Over three minutes, so that 29.97 fps comes to its rare segments of four frames."""
    counts = [len(s.times) for s in segment_frames(round(180 * fps), fps, 6)][1:]
    assert set(counts) == {int(fps / 6), int(fps / 6) + 1}
    for length in (2, 7, 101, 1001):
        for start in range(0, len(counts) - length, 13):
            assert abs(sum(counts[start : start + length]) - length * fps / 6) < 1


@given(frames=FRAMES, fps=RATES)
def test_start_anchor_makes_the_first_segment_full(frames: int, fps: F) -> None:
    phase = start_anchored_phase(frames, fps, 6)
    assert 0 <= phase < 1
    first, *_ = segments = segment_frames(frames, fps, 6, phase)
    assert first.times[0] == 6 / fps  # one frame's duration after the segment's beginning
    assert len(first.times) == min(frames, int(fps / 6))
    assert len(segments) == -(-frames * 6 // fps)


@given(frames=st.integers(2, 60), fps=RATES, data=st.data())
def test_start_anchored_frames_do_not_move_when_the_stream_goes_on(
    frames: int, fps: F, data: st.DataObject
) -> None:
    def places(count: int) -> list[tuple[int, F]]:
        phase = start_anchored_phase(count, fps, 6)
        segments = segment_frames(count, fps, 6, phase)
        return [(i, time) for i, segment in enumerate(segments) for time in segment.times]

    early = data.draw(st.integers(1, frames - 1))
    assert places(early) == places(frames)[:early]


@pytest.mark.parametrize(
    ("given_rate", "exact"),
    [
        (25, F(25)),
        (29.97, F(2997, 100)),
        (30000 / 1001, F(30000, 1001)),
        (59.94, F(2997, 50)),
        (60000 / 1001, F(60000, 1001)),
        ("30000/1001", F(30000, 1001)),
        ("23.976", F(2997, 125)),
        (F(7, 3), F(7, 3)),
    ],
)
def test_rates_are_read_exactly(given_rate: float | str | F, exact: F) -> None:
    assert exact_rate(given_rate) == exact
