"""Precision and recall by hand, pair by pair, and in every division into blocks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_eval.distribution import precision_recall as module
from dcs_eval.distribution.precision_recall import PrecisionRecall, precision_recall

from .errors import error

seeds = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def by_pairs(samples: Tensor, reference: Tensor, neighbours: int) -> PrecisionRecall:
    def share(rows: Tensor, centres: Tensor) -> float:
        reach = [
            sorted(float((a - b).norm()) for j, b in enumerate(centres) if j != i)[neighbours - 1]
            for i, a in enumerate(centres)
        ]
        inside = [
            any(float((row - c).norm()) <= r for c, r in zip(centres, reach, strict=True))
            for row in rows
        ]
        return sum(inside) / len(inside)

    return PrecisionRecall(precision=share(samples, reference), recall=share(reference, samples))


def test_points_on_a_line_by_hand() -> None:
    """Radii of the reference 1, 1, 9; of the samples 4.5, 4.5, 1, 1."""
    found = precision_recall(column(0.5, 5, 30, 31), column(0, 1, 10), neighbours=1)
    assert found == PrecisionRecall(precision=2 / 4, recall=2 / 3)


@given(seeds, st.integers(1, 4), st.integers(5, 12), st.integers(5, 12))
def test_it_is_what_pairs_give(seed: int, neighbours: int, count: int, real: int) -> None:
    samples, reference = 1.5 * normal(seed, count, 3), 100 + normal(seed + 1, real, 3)
    samples += 100
    found = precision_recall(samples, reference, neighbours=neighbours)
    assert found == by_pairs(samples, reference, neighbours)


@given(seeds, st.integers(1, 90))
def test_blocks_and_order_change_nothing(seed: int, entries: int) -> None:
    samples, reference = normal(seed, 9, 2), 1.3 * normal(seed + 1, 11, 2)
    expected = precision_recall(samples, reference)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ENTRIES", entries)
        assert precision_recall(samples, reference) == expected
    assert precision_recall(samples.flip(0), reference.roll(4, 0)) == expected


@given(seeds, st.integers(1, 3))
def test_a_copy_covers_everything(seed: int, copies: int) -> None:
    """Also where pictures are so often there that their radius is 0."""
    rows = (50 + normal(seed, 6, 40)).repeat(copies, 1)
    assert precision_recall(rows, rows, neighbours=2) == PrecisionRecall(precision=1, recall=1)


def test_the_surface_of_a_ball_is_inside() -> None:
    """A sample that is a copy of the very picture that a ball reaches to, and of no other."""
    reference = 30 + normal(4, 5, 64)
    distances = torch.cdist(reference, reference)
    distances.fill_diagonal_(torch.inf)
    samples = reference[distances[0].argmin()].expand(2, -1)
    others = torch.cat([reference[:1], reference[:1] + 1e4 * normal(5, 1, 64)])
    radii = float(distances[0].min())
    assert float((samples[0] - reference[0]).norm()) == pytest.approx(radii, rel=1e-12)
    assert precision_recall(samples, reference, neighbours=1).precision == 1
    assert precision_recall(others[1:].expand(2, -1), reference, neighbours=1).precision == 0


def test_one_mode_has_precision_and_no_recall() -> None:
    """And samples all over the place the opposite."""
    reference = normal(1, 300, 2)
    narrow = precision_recall(0.05 * normal(2, 300, 2), reference)
    assert narrow.precision > 0.5 and narrow.recall < 0.1
    wide = precision_recall(6 * normal(2, 300, 2), reference)
    assert wide.precision < 0.2 and wide.recall > 0.9


def test_precision_errors_teach() -> None:
    with error(
        "Precision and recall with 3 neighbours need at least 4 pictures on each side, but there "
        "are 9 samples and 3 of the reference. Add pictures."
    ):
        precision_recall(torch.ones(9, 2), torch.ones(3, 2))
    with error("`neighbours` must be at least 1, but is 0. The usual are 3."):
        precision_recall(torch.ones(9, 2), torch.ones(9, 2), neighbours=0)
    with error(
        "Both sets must lie in one feature space, but have 2 and 1 features. "
        "Compute both with the same network."
    ):
        precision_recall(torch.ones(9, 2), torch.ones(9, 1))
    with error(
        "Features must be finite, but 1 of 1 rows are not. Check the pictures and the weights."
    ):
        precision_recall(column(torch.nan), column(0, 1, 2, 3))
