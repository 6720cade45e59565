"""Curves and Bjøntegaard's difference, by properties and by values known by hand."""

from itertools import pairwise
from math import exp, inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dcs_eval import Curve, bd_rate

from .errors import error


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    """Rising curves of 2 to 9 points between 20 and 40 dB, all of which reach 28 to 32."""
    steps = st.lists(st.floats(0.1, 5), min_size=1, max_size=8)
    rises = draw(steps)
    low, high = draw(st.floats(20, 28)), draw(st.floats(32, 40))
    qualities = [low]
    for rise in rises:
        qualities.append(qualities[-1] + rise * (high - low) / sum(rises))
    log_rates = [draw(st.floats(-4, -2))]
    for _ in rises:
        log_rates.append(log_rates[-1] + draw(st.floats(0.05, 2)))
    return Curve.through("some", [(exp(r), q) for r, q in zip(log_rates, qualities, strict=True)])


@given(curves())
def test_a_curve_is_no_better_than_itself(curve: Curve) -> None:
    assert bd_rate(curve, curve) == 0


@given(curves(), st.floats(0.05, 20))
def test_all_rates_times_a_factor_is_that_factor(curve: Curve, factor: float) -> None:
    dearer = Curve.through("dearer", [(factor * p.bpp, p.quality) for p in curve.points])
    assert bd_rate(curve, dearer) == pytest.approx(factor - 1, rel=1e-6, abs=1e-9)


@given(curves(), curves())
def test_swapping_the_curves_inverts_the_ratio(first: Curve, second: Curve) -> None:
    there, back = bd_rate(first, second), bd_rate(second, first)
    assert (1 + there) * (1 + back) == pytest.approx(1)


@given(curves(), st.floats(-5, 5), st.floats(0.1, 10))
def test_the_scale_of_qualities_does_not_matter(curve: Curve, shift: float, scale: float) -> None:
    other = Curve.through("other", [(1.3 * p.bpp, p.quality + 0.7) for p in curve.points])
    assume(other.points[0].quality < curve.points[-1].quality - 0.01)
    moved = [
        Curve.through("moved", [(p.bpp, scale * p.quality + shift) for p in one.points])
        for one in (curve, other)
    ]
    assert bd_rate(*moved) == pytest.approx(bd_rate(curve, other), rel=1e-5, abs=1e-7)


def test_lines_in_log_rate_by_hand() -> None:
    """Between 30 and 40 dB log rate is q / 10 - 3 and q / 5 - 6.5: 0 apart on average at 35."""
    first = Curve.through("first", [(exp(q / 10 - 3), q) for q in (20, 30, 35, 40)])
    second = Curve.through("second", [(exp(q / 5 - 6.5), q) for q in (30, 36, 40, 45)])
    assert bd_rate(first, second) == pytest.approx(0, abs=1e-9)
    third = Curve.through("third", [(exp(q / 5 - 6.3), q) for q in (30, 36, 40, 45)])
    assert bd_rate(first, third) == pytest.approx(exp(0.2) - 1)


@given(curves(), st.floats(0, 1))
def test_a_curve_passes_through_its_points_and_never_falls(curve: Curve, where: float) -> None:
    for point in curve.points:
        assert curve.quality_at(point.bpp) == pytest.approx(point.quality, rel=1e-9)
    for low, high in pairwise(curve.points):
        bpp = min(max(low.bpp * (high.bpp / low.bpp) ** where, low.bpp), high.bpp)
        assert low.quality - 1e-9 <= curve.quality_at(bpp) <= high.quality + 1e-9


def test_two_points_are_joined_straight_in_log_rate() -> None:
    assert Curve.through("x", [(0.1, 20), (0.4, 30)]).quality_at(0.2) == pytest.approx(25)


def test_points_that_nobody_would_choose_are_left_out() -> None:
    curve = Curve.through("x", [(0.3, 29), (0.1, 20), (0.2, 30), (0.2, 28), (0.4, 30), (0.5, 31)])
    assert [(p.bpp, p.quality) for p in curve.points] == [(0.1, 20), (0.2, 30), (0.5, 31)]


@pytest.mark.parametrize(("bpp", "quality"), [(0, 30), (-1, 30), (0.1, inf), (nan, 30), (0.1, nan)])
def test_values_must_be_usable(bpp: float, quality: float) -> None:
    with error(
        "A curve needs positive rates and finite qualities, but x has "
        f"{quality:g} at {bpp:g} bits per pixel. Leave that setting out."
    ):
        Curve.through("x", [(bpp, quality)])


@pytest.mark.parametrize("bpp", [0.0999, 0.4001])
def test_nothing_is_said_of_rates_outside(bpp: float) -> None:
    with error(
        "`bpp` must lie between 0.1 and 0.4, the rates of x, "
        f"but is {bpp:g}. Measure more settings, or ask for another rate."
    ):
        Curve.through("x", [(0.1, 20), (0.4, 30)]).quality_at(bpp)


@pytest.mark.parametrize("points", [[(0.1, 30), (0.4, 35)], [(0.1, 25)]])
def test_curves_must_overlap(points: list[tuple[float, float]]) -> None:
    anchor = Curve.through("low", [(0.1, 20), (0.4, 30)])
    test = Curve.through("high", points)
    with error(
        "Two curves must share a range of qualities, but low reaches 20 to 30 and high reaches "
        f"{points[0][1]} to {points[-1][1]}. Measure settings of one that come closer to the other."
    ):
        bd_rate(anchor, test)
