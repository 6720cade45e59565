"""The Inception score against closed forms and torchmetrics' class."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_eval.distribution.inception_score import inception_score
from dcs_eval.metrics import import_metrics

from .errors import error
from .pass_through import PassThrough

seeds = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 9), st.integers(1, 3))
def test_clear_pictures_of_every_class_score_the_number_of_classes(
    classes: int, repeats: int
) -> None:
    """Even where all other probabilities underflow to 0."""
    logits = (1e4 * torch.eye(classes)).repeat(repeats, 1)
    assert inception_score(logits, splits=1).mean == pytest.approx(classes, rel=1e-9)


@given(seeds, st.integers(1, 9), st.integers(2, 5))
def test_equal_pictures_score_one(seed: int, count: int, classes: int) -> None:
    found = inception_score(normal(seed, 1, classes).expand(count, -1), splits=1)
    assert found.mean == pytest.approx(1, rel=1e-9)


def test_two_pictures_by_hand() -> None:
    """Probabilities (3/4, 1/4) and (1/4, 3/4), so that p(y) = (1/2, 1/2)."""
    logits = torch.tensor([[3.0, 1.0], [1.0, 3.0]]).log() + 7
    expected = math.exp(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert inception_score(logits, splits=1).mean == pytest.approx(expected, rel=1e-6)


@given(seeds)
def test_splits_follow_the_order(seed: int) -> None:
    """As ADM's evaluation takes them; the deviation is of the splits."""
    logits = 3 * normal(seed, 23, 6)
    ends = (0, 7, 15, 23)
    parts = [inception_score(logits[i:j], splits=1).mean for i, j in pairwise(ends)]
    found = inception_score(logits, splits=3)
    assert found.mean == pytest.approx(sum(parts) / 3, rel=1e-12)
    variance = sum((part - found.mean) ** 2 for part in parts) / 3
    assert found.deviation == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.splits == 3


def test_one_split_does_not_depend_on_the_order() -> None:
    logits = 3 * normal(1, 20, 6)
    found = [inception_score(some, splits=1).mean for some in (logits, logits.flip(0))]
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    by_splits = [inception_score(some, splits=4).mean for some in (logits, logits.roll(2, 0))]
    assert by_splits[0] != pytest.approx(by_splits[1], rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save:UserWarning")
def test_it_is_torchmetrics() -> None:
    """Which shuffles first, and corrects the deviation by n / (n - 1)."""
    logits = 2 * normal(3, 40, 9)
    metric = import_metrics("torchmetrics.image.inception").InceptionScore(PassThrough(9), splits=5)
    for part in logits.split(7):
        metric.update(part)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        shuffled = logits[torch.randperm(40)]
        torch.manual_seed(8)
        mean, deviation = metric.compute()
    found = inception_score(shuffled, splits=5)
    assert found.mean == pytest.approx(float(mean), rel=1e-9)
    assert found.deviation * math.sqrt(5 / 4) == pytest.approx(float(deviation), rel=1e-9)


def test_score_errors_teach() -> None:
    with error(
        "`splits` must be between 1 and the number of pictures, 9, but is 10. "
        "The usual are 10, of 5,000 pictures each."
    ):
        inception_score(torch.ones(9, 4))
    with error(
        "Features must be finite, but 1 of 2 rows are not. Check the pictures and the weights."
    ):
        inception_score(torch.tensor([[1.0, torch.inf], [1.0, 2.0]]), splits=1)
    assert inception_score(torch.ones(1, 4), splits=1).mean == 1
