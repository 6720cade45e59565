"""The probe against its optimum, and what it says of classes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from dcs_eval import ClassShares
from dcs_eval.linear_probe import PENALTY, LinearProbe
from dcs_eval.standardisation import Standardisation

from .errors import error


def clusters(seed: int, count: int = 30, apart: float = 4) -> tuple[Tensor, list[str]]:
    """Return features (3 * count, 5) around three centres, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(3 * count, 5, generator=generator)
    labels = ["b", "c", "a"] * count
    for index, label in enumerate(labels):
        features[index, "abc".index(label)] += apart
    return features, labels


def test_the_probe_learns_what_can_be_told_apart() -> None:
    probe = LinearProbe.fit(*clusters(0, apart=9))
    assert probe.classes == ("a", "b", "c")
    shares = probe.shares(*clusters(1, apart=9))
    assert shares.counts == {"a": (30, 30), "b": (30, 30), "c": (30, 30)}
    assert (shares.mean, shares.reaching()) == (1, 3)


def test_the_probe_guesses_where_nothing_can_be_told() -> None:
    probe = LinearProbe.fit(*clusters(0, 200, apart=0))
    assert 0.2 < probe.shares(*clusters(1, 200, apart=0)).mean < 0.5


def test_training_ends_in_the_minimum() -> None:
    features, labels = clusters(3)
    probe = LinearProbe.fit(features, labels)
    weight, bias = probe.weight.clone().requires_grad_(), probe.bias.clone().requires_grad_()
    targets = torch.tensor(["abc".index(label) for label in labels])
    loss = cross_entropy(probe.scaling(features) @ weight.T + bias, targets)
    (loss + PENALTY / 2 * weight.square().sum()).backward()
    assert weight.grad is not None and bias.grad is not None
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 1e-5


@given(st.floats(0.01, 100), st.floats(-100, 100))
def test_the_unit_of_a_feature_does_not_matter(factor: float, shift: float) -> None:
    features, labels = clusters(4)
    changed = features.double().clone()
    changed[:, 0] = factor * changed[:, 0] + shift
    probe, other = LinearProbe.fit(features, labels), LinearProbe.fit(changed, labels)
    assert torch.allclose(probe.weight, other.weight, atol=1e-4)


def test_training_is_the_same_every_time_and_under_inference_mode() -> None:
    first = LinearProbe.fit(*clusters(5))
    with torch.inference_mode():
        second = LinearProbe.fit(*clusters(5))
    assert torch.equal(first.weight, second.weight)
    assert first.predict(clusters(6)[0]) == second.predict(clusters(6)[0])


def test_a_feature_that_never_changes_is_no_division_by_zero() -> None:
    features = torch.cat([torch.randn(4, 2), torch.ones(4, 1)], 1)
    scaled = Standardisation.of(features)(features)
    assert scaled.isfinite().all()
    assert torch.equal(scaled[:, 2], torch.zeros(4, dtype=torch.float64))
    assert torch.allclose(scaled[:, :2].std(0, correction=0), torch.ones(2, dtype=torch.float64))


def test_every_class_counts_alike_in_the_mean() -> None:
    shares = ClassShares(counts={"a": (1, 1), "b": (10, 40), "c": (2, 4)})
    assert shares.per_class == {"a": 1, "b": 0.25, "c": 0.5}
    assert shares.mean == pytest.approx(1.75 / 3)
    assert (shares.reaching(), shares.reaching(0.6)) == (2, 1)
    assert shares + ClassShares(counts={"a": (0, 1), "d": (1, 2)}) == ClassShares(
        counts={"a": (1, 2), "b": (10, 40), "c": (2, 4), "d": (1, 2)}
    )


def test_only_classes_with_pictures_are_counted() -> None:
    features, labels = clusters(0)
    probe = LinearProbe.fit(features, labels)
    assert list(probe.shares(features[::3], labels[::3]).counts) == ["b"]


def test_probe_errors_teach() -> None:
    features, labels = clusters(0, 2)
    with error(
        "Each picture must have one label, but there are 6 pictures and 5 labels. Pass as many."
    ):
        LinearProbe.fit(features, labels[1:])
    with error(
        "A probe must be trained on at least two classes, but the labels name a. "
        "Add pictures of others."
    ):
        LinearProbe.fit(features, ["a"] * 6)
    with error(
        "Labels must be classes of the training pictures (a, b, c), but d, e is not among them. "
        "Rename it, or train with it."
    ):
        LinearProbe.fit(features, labels).shares(features, ["a", "e", "d", "a", "b", "c"])
