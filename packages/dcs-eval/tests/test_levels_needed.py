"""How many levels pictures need for a quality."""

from math import inf, nan

from hypothesis import given
from hypothesis import strategies as st

from dcs_eval.levels_needed import levels_needed
from dcs_eval.reconstruction_report import Reconstruction, ReconstructionReport

from .errors import error


def report(values: dict[str, list[float]], scale: float = 1.0) -> ReconstructionReport:
    """Return a report of pictures' PSNR at 1, 2, ... levels; agreement at 24 fps is perfect."""
    rows = [
        Reconstruction(picture=name, levels=level, scale=scale, psnr=psnr, fps=fps)
        for name, psnrs in values.items()
        for level, own in enumerate(psnrs, start=1)
        for psnr, fps in ((own, None), (inf, 24.0))
    ]
    return ReconstructionReport(rows=tuple(rows))


SIMPLE = {"easy": [31.0, 35.0, 40.0], "plain": [25.0, 30.0, 33.0], "hard": [20.0, 22.0, 25.0]}


def test_the_first_level_count_that_reaches_the_target() -> None:
    found = levels_needed(report(SIMPLE), 30.0)
    assert found.per_picture == {"easy": 1, "plain": 2, "hard": None}
    assert found.distribution == {1: 1, 2: 1, 3: 0, None: 1}
    assert [found.share(m) for m in (1, 2, 3)] == [1 / 3, 2 / 3, 2 / 3]
    assert found.median == 2
    assert found.mean is None


def test_the_mean_is_over_all_pictures_or_none() -> None:
    assert levels_needed(report(SIMPLE), 25.0).mean == (1 + 1 + 3) / 3
    assert levels_needed(report(SIMPLE), 50.0).median is None


def test_one_drop_does_not_hide_what_was_reached() -> None:
    assert levels_needed(report({"odd": [30.0, 29.0, 31.0]}), 30.0).per_picture == {"odd": 1}


@given(
    psnrs=st.lists(st.lists(st.floats(5, 60), min_size=4, max_size=4), min_size=1, max_size=5),
    targets=st.tuples(st.floats(5, 60), st.floats(5, 60)),
)
def test_a_harder_target_never_needs_fewer(
    psnrs: list[list[float]], targets: tuple[float, float]
) -> None:
    made = report({str(i): values for i, values in enumerate(psnrs)})
    low, high = (levels_needed(made, target) for target in sorted(targets))
    for name, needed in low.per_picture.items():
        assert (high.per_picture[name] or 99) >= (needed or 99)
    assert sum(low.distribution.values()) == len(psnrs)
    assert all(low.share(m) >= high.share(m) for m in low.counts)
    assert low.share(4) == sum(max(values) >= min(targets) for values in psnrs) / len(psnrs)


def test_agreement_between_rates_does_not_count() -> None:
    rows = [
        Reconstruction(picture="a", levels=1, scale=scale, psnr=40.0, fps=fps)
        for scale, fps in ((0.5, None), (1.0, 12.0))
    ]
    with error("`scale` must be one that was evaluated, but is 1. Evaluated: [0.5]."):
        levels_needed(ReconstructionReport(rows=tuple(rows)), 30.0)


def test_errors() -> None:
    with error("`scale` must be one that was evaluated, but is 2. Evaluated: [1.0]."):
        levels_needed(report(SIMPLE), 30.0, scale=2.0)
    with error("`target_psnr` must be a number of decibels, but is nan. Pass one, such as 30."):
        levels_needed(report(SIMPLE), nan)
