"""The Fréchet distance against closed forms, and statistics that merge."""

from functools import reduce

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_eval import FeatureStatistics, frechet_distance
from dcs_eval.distribution.frechet import gaussian_frechet_distance
from dcs_eval.metrics import import_metrics

from .errors import error
from .pass_through import PassThrough

seeds = st.integers(0, 2**31)
sizes = st.integers(1, 9)


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def features(seed: int, count: int, size: int) -> Tensor:
    """Return correlated features (count, size) far from zero."""
    return normal(seed, count, size) @ normal(seed + 1, size, size) + 5 * normal(seed + 2, size)


def statistics(seed: int, count: int, size: int) -> FeatureStatistics:
    return FeatureStatistics.of(features(seed, count, size))


@given(seeds, sizes, st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_parts_merge_into_the_whole(seed: int, size: int, counts: list[int]) -> None:
    everything = 1000 + features(seed, sum(counts), size)
    whole = FeatureStatistics.of(everything)
    parts = map(FeatureStatistics.of, everything.split(counts))
    merged = reduce(FeatureStatistics.merge, parts)
    assert merged.count == whole.count == sum(counts)
    assert torch.allclose(merged.mean, whole.mean, rtol=1e-12)
    assert torch.allclose(merged.scatter, whole.scatter, rtol=1e-9, atol=1e-8)
    if sum(counts) > 1:
        expected = torch.cov(everything.T).reshape(size, size)
        assert torch.allclose(merged.covariance, expected, rtol=1e-9, atol=1e-8)


@given(seeds, sizes, st.integers(2, 30))
def test_a_set_is_at_no_distance_from_itself(seed: int, size: int, count: int) -> None:
    """Singular covariances included."""
    found = statistics(seed, count, size)
    assert 0 <= frechet_distance(found, found) <= 1e-10 * (1 + float(found.covariance.trace()))


@given(seeds, sizes, st.integers(2, 30), st.integers(2, 30))
def test_it_is_symmetric(seed: int, size: int, first: int, second: int) -> None:
    a, b = statistics(seed, first, size), statistics(seed + 9, second, size)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9, abs=1e-9)


@given(seeds, sizes)
def test_diagonal_gaussians_have_a_closed_form(seed: int, size: int) -> None:
    """Sum (m1 - m2)^2 + (s1 - s2)^2."""
    means, deviations = normal(seed, 2, size), normal(seed + 1, 2, size).abs()
    first, second = (torch.diag(deviation**2) for deviation in deviations)
    found = gaussian_frechet_distance(means[0], first, means[1], second)
    expected = (means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum()
    assert found == pytest.approx(float(expected), rel=1e-9, abs=1e-9)


@given(seeds, st.integers(2, 9))
def test_rotating_the_space_changes_nothing(seed: int, size: int) -> None:
    rotation, _ = torch.linalg.qr(normal(seed, size, size))
    a, b = features(seed + 1, 20, size), features(seed + 5, 25, size)
    straight = frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))
    turned = frechet_distance(
        FeatureStatistics.of(a @ rotation), FeatureStatistics.of(b @ rotation)
    )
    assert turned == pytest.approx(straight, rel=1e-9)


@given(seeds, sizes, st.floats(0.1, 9))
def test_moving_a_set_costs_the_square_of_the_way(seed: int, size: int, way: float) -> None:
    found = features(seed, 20, size)
    moved = found.clone()
    moved[:, 0] += way
    distance = frechet_distance(FeatureStatistics.of(found), FeatureStatistics.of(moved))
    assert distance == pytest.approx(way**2, rel=1e-6)


def test_it_agrees_with_the_root_of_a_matrix() -> None:
    from scipy.linalg import sqrtm

    a, b = statistics(1, 40, 6), statistics(7, 50, 6)
    root = torch.from_numpy(sqrtm((a.covariance @ b.covariance).numpy()).real)
    expected = (a.mean - b.mean).square().sum() + torch.trace(
        a.covariance + b.covariance - 2 * root
    )
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)


def test_fewer_pictures_than_features_are_noticed_and_make_it_larger() -> None:
    few, many = statistics(0, 12, 12), statistics(0, 13, 12)
    assert (few.is_singular, many.is_singular) == (True, False)
    reference = FeatureStatistics.of(normal(1, 4000, 12))
    distances = [
        frechet_distance(FeatureStatistics.of(normal(2, count, 12)), reference)
        for count in (8, 40, 200, 1000)
    ]
    assert distances == sorted(distances, reverse=True)


def test_frechet_errors_teach() -> None:
    one, two = FeatureStatistics.of(torch.ones(1, 3)), FeatureStatistics.of(torch.ones(2, 4))
    with error("A covariance needs at least 2 pictures, but there is 1. Add pictures."):
        frechet_distance(one, one)
    with error(
        "Both sets must lie in one feature space, but have 3 and 4 features. "
        "Compute both with the same network."
    ):
        frechet_distance(one, two)
    with error(
        "Features must have the shape (N, D), but have (0, 4). "
        "Pass a row for each of one or more pictures."
    ):
        FeatureStatistics.of(torch.ones(0, 4))
    with error(
        "Features must be finite, but 1 of 2 rows are not. Check the pictures and the weights."
    ):
        FeatureStatistics.of(torch.tensor([[1.0, 2.0], [torch.nan, 1.0]]))


def test_it_is_torchmetrics() -> None:
    first, second = features(3, 50, 8).float().double(), 1 + features(4, 70, 8).float().double()
    library = import_metrics("torchmetrics.image.fid")
    metric = library.FrechetInceptionDistance(PassThrough(8)).set_dtype(torch.float64)
    for part in first.split(9):
        metric.update(part, real=False)
    metric.update(second, real=True)
    found = frechet_distance(FeatureStatistics.of(first), FeatureStatistics.of(second))
    assert found == pytest.approx(float(metric.compute()), rel=1e-6)
