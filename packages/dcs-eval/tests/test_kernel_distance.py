"""The kernel distance against its formula, torchmetrics' class and what it must not depend on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_eval.distribution.kernel_distance import kernel_distance
from dcs_eval.metrics import import_metrics

from .errors import error
from .pass_through import PassThrough

seeds = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_pairs(samples: Tensor, reference: Tensor) -> float:
    """Return the unbiased estimate pair by pair, all pictures of both sets in it."""

    def kernel(x: Tensor, y: Tensor) -> float:
        return (float(x @ y) / len(x) + 1) ** 3

    count = len(samples)
    within = sum(
        kernel(rows[i], rows[j])
        for rows in (samples, reference)
        for i in range(count)
        for j in range(count)
        if i != j
    )
    across = sum(kernel(x, y) for x in samples for y in reference)
    return within / (count * (count - 1)) - 2 * across / count**2


def test_two_pictures_by_hand() -> None:
    """((1 + 1) + (343 + 343)) / 2 - 2 (1 + 1 + 27 + 64) / 4."""
    samples, reference = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    found = kernel_distance(samples, reference, subsets=3, subset_size=2)
    assert found.mean == pytest.approx(297.5, rel=1e-12)
    assert found.deviation == pytest.approx(0, abs=1e-9)
    assert (found.subsets, found.subset_size) == (3, 2)


@given(seeds, st.integers(2, 6), st.integers(1, 4))
def test_it_is_the_mean_over_pairs(seed: int, count: int, size: int) -> None:
    samples, reference = normal(seed, count, size), 1 + 2 * normal(seed + 1, count, size)
    found = kernel_distance(samples, reference, subsets=2, subset_size=count)
    assert found.mean == pytest.approx(by_pairs(samples, reference), rel=1e-9, abs=1e-9)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
def test_it_is_torchmetrics() -> None:
    """Subsets included, as the same numbers draw them; counts differ."""
    samples, reference = normal(1, 30, 7), 0.2 + normal(2, 40, 7)
    library = import_metrics("torchmetrics.image.kid")
    metric = library.KernelInceptionDistance(PassThrough(7), subsets=9, subset_size=11)
    metric.update(reference, real=True)
    for part in samples.split(13):
        metric.update(part, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        mean, deviation = metric.compute()
    found = kernel_distance(samples, reference, subsets=9, subset_size=11, seed=5)
    assert found.mean == pytest.approx(float(mean), rel=1e-9)
    assert found.deviation == pytest.approx(float(deviation), rel=1e-9)
    other = kernel_distance(samples, reference, subsets=9, subset_size=11, seed=6)
    assert found.mean != other.mean


def test_the_order_of_pictures_changes_nothing_where_all_are_drawn() -> None:
    samples, reference = normal(1, 12, 5), normal(2, 12, 5)
    found = [
        kernel_distance(some, real, subsets=1, subset_size=12).mean
        for some, real in ((samples, reference), (samples.flip(0), reference.roll(3, 0)))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_few_pictures_do_not_make_it_larger() -> None:
    """Unbiased: over many draws from one distribution the mean is 0, at any count."""
    for size in (3, 30):
        found = kernel_distance(
            normal(1, 4000, 3), normal(2, 4000, 3), subsets=400, subset_size=size
        )
        assert abs(found.mean) < 4 * found.deviation / 400**0.5 + 0.003
        assert found.deviation > 0


def test_the_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    kernel_distance(normal(1, 4, 2), normal(2, 4, 2), subsets=2, subset_size=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_kernel_errors_teach() -> None:
    rows = torch.ones(50, 3)
    with error(
        "`subset_size` must be at most the number of pictures on each side, but is 1000, and "
        "there are 50 samples and 7 of the reference. Pass a smaller one, and state it with the "
        "figure."
    ):
        kernel_distance(rows, rows[:7])
    with error(
        "A kernel distance needs at least 1 subset of 2 pictures, but `subsets` is 0 and "
        "`subset_size` is 1. The usual are 100 and 1000."
    ):
        kernel_distance(rows, rows, subsets=0, subset_size=1)
    with error(
        "Both sets must lie in one feature space, but have 3 and 2 features. "
        "Compute both with the same network."
    ):
        kernel_distance(rows, rows[:, :2])
    with error(
        "Features must be finite, but 50 of 50 rows are not. Check the pictures and the weights."
    ):
        kernel_distance(rows, rows * torch.nan)
