"""One latent read at another frame rate: its segments are fixed, the frames are new."""

import tracemalloc
from fractions import Fraction as F

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dcs_common.geometry import Segment, frames_at_rate, segment_frames, start_anchored_phase

RATES = st.one_of(
    st.sampled_from((F(2997, 100), F(30000, 1001), F(5994, 100), F(60000, 1001), F(24000, 1001))),
    st.integers(6, 120).map(F),
    st.fractions(6, 120, max_denominator=99),
)
FRAMES = st.integers(1, 60)


def decode(frames: int, fps: F, target: F, start: bool) -> tuple[F, int, tuple[Segment, ...]]:
    """Return the phase, the number of encoded segments and the segments at ``target`` fps."""
    phase = start_anchored_phase(frames, fps, 6) if start else F(0)
    segments = len(segment_frames(frames, fps, 6, phase))
    count = frames_at_rate(frames, fps, target)
    return phase, segments, segment_frames(count, target, 6, phase, segments)


@pytest.mark.parametrize(
    ("frames", "fps", "target", "count"),
    [
        (16, 24, 48, 32),
        (16, 24, 12, 8),
        (17, 24, 12, 9),
        (1, 120, 6, 1),
        (1, 6, 120, 20),
        (7, 25, 25, 7),
    ],
)
def test_frames_at_another_rate(frames: int, fps: int, target: int, count: int) -> None:
    assert frames_at_rate(frames, F(fps), F(target)) == count


@settings(max_examples=200)
@given(frames=FRAMES, fps=RATES, target=RATES, start=st.booleans())
@example(frames=4, fps=F(18), target=F(9), start=False)  # steps over the partial first segment
@example(frames=2, fps=F(7), target=F(120), start=False)  # fifteen frames before the first one
def test_every_rate_gives_every_frame_once(frames: int, fps: F, target: F, start: bool) -> None:
    _, segments, spans = decode(frames, fps, target, start)
    assert len(spans) == segments
    covered = [frame for span in spans for frame in range(span.start, span.stop)]
    assert covered == list(range(max(1, -(-frames * target // fps))))
    assert all(len(span.times) == span.stop - span.start for span in spans)
    assert all(span.times for span in spans[1:])
    if target >= fps or start:
        assert spans[0].times


@settings(max_examples=200)
@given(frames=FRAMES, fps=RATES, target=RATES, start=st.booleans())
def test_frames_are_read_where_the_clock_says(frames: int, fps: F, target: F, start: bool) -> None:
    """Seconds before the end fix the place; what lies before the first segment is read at 0."""
    phase, segments, spans = decode(frames, fps, target, start)
    count = spans[-1].stop
    for index, span in enumerate(spans):
        for frame, time in zip(range(span.start, span.stop), span.times, strict=True):
            place = segments - phase - 6 * (count - 1 - frame) / target
            assert index + time == max(place, F(0))
            assert 0 <= time <= 1
            assert time > 0 or index == 0


@given(frames=FRAMES, fps=RATES, start=st.booleans())
def test_the_source_rate_gives_back_the_source(frames: int, fps: F, start: bool) -> None:
    phase, _, spans = decode(frames, fps, fps, start)
    assert spans == segment_frames(frames, fps, 6, phase)


@given(frames=FRAMES, fps=RATES, target=RATES, factor=st.integers(2, 4))
def test_a_multiple_of_a_rate_keeps_its_instants(
    frames: int, fps: F, target: F, factor: int
) -> None:
    """Counted from the end, every second frame at 48 fps is a frame at 24 fps."""

    def places(rate: F) -> list[F]:
        _, _, spans = decode(frames, fps, rate, False)
        return [i + time for i, span in enumerate(spans) for time in span.times][::-1]

    few, many = places(target), places(factor * target)
    shared = min(len(few), len(many[::factor]))
    assert shared >= len(few) - 1
    assert few[:shared] == many[::factor][:shared]


def test_a_lower_rate_may_step_over_a_partial_first_segment() -> None:
    """At 18 fps the first of 4 frames has a segment of its own, which 9 fps does not sample."""
    _, segments, spans = decode(4, F(18), F(9), False)
    assert segments == 2
    assert spans == (Segment(0, 0, ()), Segment(0, 2, (F(1, 3), F(1))))


def test_frames_that_cannot_fit_are_refused_before_memory_is_taken() -> None:
    """A damaged file may ask for any number of them."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^The frames must fit the 2 segments"):
            segment_frames(10**5, F(24), 6, F(0), 2)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
