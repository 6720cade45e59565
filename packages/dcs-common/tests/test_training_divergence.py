"""A run that goes astray stops at once, says where, and leaves its checkpoint alone."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcs_common.training import Share, TrainingDiverged
from dcs_common.training.divergence import LossHistory

from .toy_training import Game, Regression, ToyBatch, ToySource, lines, settings, train_toy


def spoiled(step: int, change: Callable[[ToyBatch], ToyBatch]) -> ToySource:
    """Give a source whose batch of a step (from 0) is changed."""
    source = ToySource()
    source.spoil = lambda share, batch: change(batch) if share.step == step else batch
    return source


def with_number(value: float) -> Callable[[ToyBatch], ToyBatch]:
    """Put a value into one place of the target."""

    def change(batch: ToyBatch) -> ToyBatch:
        y = batch.y.clone()
        y[0, 1] = value
        return replace(batch, y=y)

    return change


def message(step: int, what: str, kept: Path | None) -> str:
    last = "There is no checkpoint" if kept is None else f"The last good checkpoint is {kept}"
    return (
        f"Losses and gradients must stay finite and near their usual size, but at step {step} "
        f"{what}. {last}. Lower the learning rate or `clip_norm`, or normalise queries and keys "
        "(`qk_norm`), and look at the batch of that step."
    )


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_number_that_is_not_finite_stops_the_run(
    value: float, accumulate: int, tmp_path: Path
) -> None:
    source, config = spoiled(6, with_number(value)), settings(accumulate=accumulate)
    kept = tmp_path / "checkpoint.safetensors"
    with pytest.raises(TrainingDiverged) as error:
        train_toy(Regression(), config, tmp_path, source=source)
    assert str(error.value) == message(7, f"the loss of 'model' is {value}", kept)
    assert [line["step"] for line in lines(tmp_path)] == [2, 3, 4, 6, 6]
    # The run goes on from the checkpoint of step 4 as if nothing had been.
    train_toy(Regression(), config, tmp_path)
    train_toy(Regression(), config, tmp_path / "whole")
    assert lines(tmp_path) == lines(tmp_path / "whole")


def test_the_checkpoint_is_left_alone(tmp_path: Path) -> None:
    train_toy(Regression(), settings(), tmp_path, stop=lambda: True)
    kept = tmp_path / "checkpoint.safetensors"
    before = kept.read_bytes()
    with pytest.raises(TrainingDiverged):
        train_toy(Regression(), settings(), tmp_path, source=spoiled(2, with_number(torch.nan)))
    assert kept.read_bytes() == before
    assert not (tmp_path / "checkpoint.previous.safetensors").exists()


def test_before_the_first_checkpoint_there_is_none_to_name(tmp_path: Path) -> None:
    expected = re.escape(message(1, "the loss of 'model' is nan", None))
    with pytest.raises(TrainingDiverged, match=f"^{expected}$"):
        train_toy(Regression(), settings(), tmp_path, source=spoiled(0, with_number(torch.nan)))
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_the_network_is_named(tmp_path: Path) -> None:
    class Spoiled(Game):
        def losses(self, batch, share, call):
            for name, loss, scalars in super().losses(batch, share, call):
                bad = share.step == 3 and name == "critic"
                yield name, loss * torch.nan if bad else loss, scalars

    expected = re.escape(message(4, "the loss of 'critic' is nan", None))
    with pytest.raises(TrainingDiverged, match=f"^{expected}$"):
        train_toy(Spoiled(), settings(), tmp_path)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    """The square root at zero: its value is fine."""

    class Rooted(Regression):
        def losses(self, batch, share, call):
            for name, loss, scalars in super().losses(batch, share, call):
                root = (call["model"].rare * 0).sum().sqrt()
                yield name, loss + root if share.step == 2 else loss, scalars

    task = Rooted()
    before = task.networks["model"].rare.detach().clone()
    expected = re.escape(message(3, "the gradient of 'model' has norm nan", None))
    with pytest.raises(TrainingDiverged, match=f"^{expected}$"):
        train_toy(task, settings(), tmp_path)
    assert task.networks["model"].rare.isfinite().all()
    assert not torch.equal(task.networks["model"].rare, before)


@pytest.mark.parametrize("network", ["model", "critic"])
def test_weights_that_are_not_finite_are_not_saved(network: str, tmp_path: Path) -> None:
    """A step can spoil them though its loss and gradient were finite."""
    config = settings(checkpoint_every=3)
    train_toy(Game(), config, tmp_path, stop=lambda: True)
    kept = tmp_path / "checkpoint.safetensors"
    before = kept.read_bytes()
    spoiled_rate = replace(config.optimizer, learning_rate=3e38, weight_decay=3e38)
    which = "optimizer" if network == "model" else "other_optimizer"
    expected = re.escape(
        message(2, f"the weights or optimiser of '{network}' are not finite", kept)
    )
    with pytest.raises(TrainingDiverged, match=f"^{expected}$"):
        train_toy(Game(), replace(config, **{which: spoiled_rate}), tmp_path, stop=lambda: True)
    assert kept.read_bytes() == before
    assert not (tmp_path / "checkpoint.previous.safetensors").exists()


# ---------------------------------------------------------------------- explosions

LONG = settings(steps=40, explosion_factor=5.0, checkpoint_every=25, validate_every=0)


def test_an_explosion_stops_the_run(tmp_path: Path) -> None:
    source = spoiled(30, lambda batch: replace(batch, y=batch.y + 1000))
    with pytest.raises(TrainingDiverged) as error:
        train_toy(Regression(), LONG, tmp_path, source=source)
    found = re.search(r"at step 31 the loss of 'model' is ([\d.e+]+)\. The last", str(error.value))
    assert found is not None
    assert float(found[1]) == pytest.approx(1e6, rel=0.01)
    kept = tmp_path / "checkpoint.safetensors"
    assert str(error.value) == message(31, f"the loss of 'model' is {found[1]}", kept)


def test_without_a_factor_an_explosion_is_passed_over(tmp_path: Path) -> None:
    source = spoiled(30, lambda batch: replace(batch, y=batch.y + 1000))
    config = replace(LONG, explosion_factor=None)
    assert train_toy(Regression(), config, tmp_path, source=source).finished


def test_what_is_usual_survives_a_pause(tmp_path: Path) -> None:
    """Six steps after the pause alone would be too few to judge by."""
    train_toy(Regression(), LONG, tmp_path, stop=_after(25))
    source = spoiled(30, lambda batch: replace(batch, y=batch.y + 1000))
    with pytest.raises(TrainingDiverged, match="at step 31 the loss of 'model' is"):
        train_toy(Regression(), LONG, tmp_path, source=source)


def _after(steps: int) -> Callable[[], bool]:
    asked: list[Share | None] = []
    return lambda: asked.append(None) or len(asked) == steps


@pytest.mark.parametrize(
    ("usual", "spread", "limit"),
    [
        (2.0, 0.0, 8.0),  # positive losses: the median and three times as much
        (2.0, 1.0, 8.0),
        (-5.0, 0.5, 10.0),  # a logarithm
        (0.0, 0.5, 1.5),  # a hinge around zero
        (0.1, 0.5, 1.6),
    ],
)
def test_the_limit_by_hand(usual: float, spread: float, limit: float) -> None:
    for beyond, accepted in ((-1e-6, True), (1e-6, False)):
        history = LossHistory(3.0)
        for loss in [usual - spread, usual, usual + spread] * 7:
            assert history.accepts(loss)
        assert history.accepts(limit + beyond) is accepted


def test_few_losses_judge_nothing() -> None:
    history = LossHistory(3.0)
    assert all(history.accepts(1.0) for _ in range(20))
    assert history.accepts(1e6)
    assert not history.accepts(1e9)


def test_a_refused_loss_is_not_remembered() -> None:
    history = LossHistory(3.0)
    history.restore([1.0] * 21)
    assert not any(history.accepts(100.0) for _ in range(200))
    assert not history.accepts(torch.nan)
    assert list(history.values) == [1.0] * 21


def test_old_losses_are_forgotten() -> None:
    """A loss that has settled lower is judged by where it is now."""
    history = LossHistory(3.0)
    for loss in [100.0] * 50 + [1.0] * 101:
        assert history.accepts(loss)
    assert not history.accepts(100.0)
