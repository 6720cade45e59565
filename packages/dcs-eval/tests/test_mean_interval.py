"""Means and their t intervals against values from tables."""

from math import inf, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_eval.mean_interval import mean_interval


def test_three_values_by_hand() -> None:
    """t(0.975, 2) = 4.3027, s = 1."""
    found = mean_interval([1, 2, 3])
    assert found.mean == 2
    assert found.half_width == pytest.approx(4.30265 / sqrt(3), rel=1e-5)
    assert found.text(2) == "2.00 ± 2.48"


def test_twenty_four_values_by_hand() -> None:
    """t(0.975, 23) = 2.0687; twelve of each value have s = sqrt(24 / 23)."""
    found = mean_interval([-1.0] * 12 + [1.0] * 12)
    assert found.half_width == pytest.approx(2.06866 * sqrt(24 / 23) / sqrt(24), rel=1e-5)


@pytest.mark.parametrize("values", [[3.0], [3.0, inf]])
def test_no_interval_where_there_is_none(values: list[float]) -> None:
    found = mean_interval(values)
    assert found.half_width is None
    assert found.text(1) == f"{values[-1]:.1f}"


@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=9),
    st.floats(-50, 50),
    st.floats(0.1, 9),
)
def test_it_moves_and_stretches_with_the_values(
    values: list[float], shift: float, factor: float
) -> None:
    first, second = mean_interval(values), mean_interval(factor * v + shift for v in values)
    assert second.mean == pytest.approx(factor * first.mean + shift, abs=1e-6)
    assert second.half_width == pytest.approx(factor * first.half_width, abs=1e-6)
