"""Checkpoints: whole or as they were, and one clear error for those that cannot be used."""

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dcs_common.training import CHECKPOINT_FORMAT, CheckpointError, Share
from dcs_common.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

from .toy_training import Game, Regression, saved, settings, train_toy

IDENTITY = {"data": "a", "training": {"seed": 3, "steps": 11}, "scales": [1, 2]}
LAST, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"


def checkpoint(step: int = 5) -> Checkpoint:
    tensors = {"a": torch.full((2, 3), float(step)), "b": torch.tensor(7)}
    return Checkpoint(step, IDENTITY, tensors, (0.1, 0.2 + step))


def error(message: str) -> Any:
    return pytest.raises(CheckpointError, match=f"^{re.escape(message)}$")


def change_metadata(path: Path, **change: str | None) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **change}
    save_file(load_file(path), path, {k: v for k, v in metadata.items() if v is not None})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint())
    found = load_checkpoint(tmp_path, IDENTITY)
    assert found is not None
    assert (found.step, found.identity, found.losses) == (5, IDENTITY, (0.1, 5.2))
    assert all(torch.equal(found.tensors[k], v) for k, v in checkpoint().tensors.items())
    assert CHECKPOINT_FORMAT == 1
    with safe_open(tmp_path / LAST, framework="pt") as file:
        assert file.metadata()["format"] == "1"


def test_views_and_shared_storage_are_saved_apart(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "whole": whole,
        "same": whole,
        "turned": whole.T,
        "row": whole[2],
        "one": whole[3, 5],
    }
    save_checkpoint(tmp_path, Checkpoint(1, {}, tensors))
    found = load_file(tmp_path / LAST)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[k], v) for k, v in tensors.items())


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    class Tied(Regression):
        def __init__(self) -> None:
            super().__init__()
            model = self.networks["model"]
            model.alias = nn.Linear(5, 7)
            model.alias.weight = model.first.weight

    train_toy(Tied(), settings(), tmp_path, stop=lambda: True)
    task = Tied()
    train_toy(task, settings(), tmp_path)
    assert task.networks["model"].alias.weight is task.networks["model"].first.weight
    found = saved(tmp_path)
    assert torch.equal(found["network/model/alias.weight"], found["network/model/first.weight"])


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, IDENTITY) is None


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    for step in (5, 6, 7):
        save_checkpoint(tmp_path, checkpoint(step))
        assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, LAST][step == 5 :]
    os.replace(tmp_path / PREVIOUS, tmp_path / LAST)
    found = load_checkpoint(tmp_path, IDENTITY)
    assert found is not None
    assert found.step == 6


def test_the_one_before_is_kept_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    for step in (5, 6):
        save_checkpoint(tmp_path, checkpoint(step))
    before = load_file(tmp_path / PREVIOUS)
    assert torch.equal(before["a"], checkpoint(5).tensors["a"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, LAST]


# ---------------------------------------------------------------------- a disk that is full


@pytest.mark.parametrize("place", ["fsync", "chmod", "replace"])
def test_a_full_disk_leaves_the_old_one(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, checkpoint(5))

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, place, full)
        with error(
            f"A checkpoint must be written whole, but {tmp_path / LAST} of step 6 could not be "
            "([Errno 28] No space left on device). What was there is intact. Make room and start "
            "again: the run goes on from there."
        ):
            save_checkpoint(tmp_path, checkpoint(6))
    found = load_checkpoint(tmp_path, IDENTITY)
    assert found is not None
    assert found.step == 5
    assert {path.name for path in tmp_path.iterdir()} <= {LAST, PREVIOUS}


def test_a_run_ends_on_a_full_disk_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    task = Regression()
    with monkeypatch.context() as patch:
        task.before = lambda share: patch.setattr(os, "fsync", full) if share.step == 7 else None
        with pytest.raises(CheckpointError, match=r"of step 8 could not be \(\[Errno 28\]"):
            train_toy(task, settings(), tmp_path)
    train_toy(Regression(), settings(), tmp_path)
    train_toy(Regression(), settings(), tmp_path / "whole")
    left, right = saved(tmp_path), saved(tmp_path / "whole")
    weights = [name for name in left if not name.startswith("random/")]
    assert all(torch.equal(left[name], right[name]) for name in weights)


# ---------------------------------------------------------------------- files that cannot be used


@pytest.mark.parametrize("previous", [False, True])
def test_a_cut_file_is_refused_and_the_one_before_named(previous: bool, tmp_path: Path) -> None:
    for step in (5, 6)[not previous :]:
        save_checkpoint(tmp_path, checkpoint(step))
    path = tmp_path / LAST
    data = path.read_bytes()
    hint = "Remove it to start again."
    if previous:
        hint = f"{PREVIOUS} holds the one before; rename it to go on from there."
    for length in (0, 3, 8, 50, len(data) // 2, len(data) - 1):
        path.unlink()
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError) as found:
            load_checkpoint(tmp_path, IDENTITY)
        with pytest.raises((SafetensorError, OSError)) as why, safe_open(path, framework="pt"):
            pass
        assert str(found.value) == (
            f"A checkpoint must be a whole safetensors file, but {path} is not ({why.value}). "
            f"{hint}"
        )
    # No silent start from nothing, or from the one before.
    with pytest.raises(CheckpointError, match=r"^A checkpoint must be a whole safetensors"):
        train_toy(Regression(), settings(), tmp_path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / LAST)
    with pytest.raises(CheckpointError, match=r"^A checkpoint must be a whole safetensors file"):
        load_checkpoint(tmp_path, IDENTITY)


def test_a_last_one_that_is_gone_is_not_passed_over(tmp_path: Path) -> None:
    for step in (5, 6):
        save_checkpoint(tmp_path, checkpoint(step))
    (tmp_path / LAST).unlink()
    with error(
        f"A run must go on from its last checkpoint, but {tmp_path / LAST} is gone. {PREVIOUS} "
        "holds the one before; rename it to go on from there, or remove it to start again."
    ):
        load_checkpoint(tmp_path, IDENTITY)


@pytest.mark.parametrize("kind", [None, "dcs-latents"])
def test_another_kind_of_file_is_refused(kind: str | None, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint())
    change_metadata(tmp_path / LAST, kind=kind)
    with error(
        f"A checkpoint must be written by this training loop, but {tmp_path / LAST} holds "
        f"{kind!r}. Give the run a folder of its own."
    ):
        load_checkpoint(tmp_path, IDENTITY)


@pytest.mark.parametrize("number", ["2", "0", None])
def test_another_format_is_refused(number: str | None, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint())
    change_metadata(tmp_path / LAST, format=number)
    with error(
        f"The checkpoint format must be 1, but {tmp_path / LAST} has format {number}. "
        "Go on with the release that wrote it."
    ):
        load_checkpoint(tmp_path, IDENTITY)


@pytest.mark.parametrize(
    ("about", "why"),
    [
        (None, "KeyError('about')"),
        ("3", "TypeError(\"'int' object is not subscriptable\")"),
        ("{}", "KeyError('step')"),
        ('{"step": 3, "identity": {}}', "KeyError('losses')"),
    ],
)
def test_a_file_that_does_not_say_what_it_is_is_refused(
    about: str | None, why: str, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, checkpoint())
    change_metadata(tmp_path / LAST, about=about)
    with error(
        f"A checkpoint must say what it is, but {tmp_path / LAST} does not ({why}). "
        "Remove it to start again."
    ):
        load_checkpoint(tmp_path, IDENTITY)


def test_another_run_is_refused_and_the_differences_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint())
    now = {"data": "b", "training": {"steps": 11, "decay": None}, "scales": (1, 3)}
    with error(
        f"A run must go on from its own checkpoint, but {tmp_path / LAST} differs in "
        'data ("a" there, "b" here), scales ([1, 2] there, [1, 3] here), '
        "training.seed (3 there, null here). "
        "Use another folder, or the settings that it was made with."
    ):
        load_checkpoint(tmp_path, now)


@pytest.mark.parametrize("free", [("training.steps", "data"), ("training", "data")])
def test_what_may_change_may_change(free: tuple[str, ...], tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint())
    now = {**IDENTITY, "data": "b", "training": {"seed": 3, "steps": 99}}
    assert load_checkpoint(tmp_path, now, free) is not None
    with pytest.raises(
        CheckpointError, match=r"differs in training\.steps \(11 there, 99 here\)\."
    ):
        load_checkpoint(tmp_path, now, ("data", "training.step"))


def test_tuples_are_the_lists_they_are_stored_as(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint())
    assert load_checkpoint(tmp_path, {**IDENTITY, "scales": (1, 2)}) is not None


# ---------------------------------------------------------------------- other networks


def _without(tensors: dict[str, Tensor], name: str) -> None:
    del tensors[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: _without(t, "network/model/first.weight"),
            "A checkpoint must fit the networks, but 1 of its tensors under 'network/model/' are "
            "missing, unknown or of another shape (first: 'first.weight'). "
            "Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: t.update({"network/critic/layers.9.bias": torch.zeros(3)}),
            "A checkpoint must fit the networks, but 1 of its tensors under 'network/critic/' are "
            "missing, unknown or of another shape (first: 'layers.9.bias'). "
            "Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: t.update({"average/module.second.bias": torch.zeros(4)}),
            "A checkpoint must fit the networks, but 1 of its tensors under 'average/' are "
            "missing, unknown or of another shape (first: 'module.second.bias'). "
            "Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: t.update({"optimizer/model/frozen/exp_avg": torch.zeros(3)}),
            "A checkpoint's optimiser must fit the trained parameters, but its state of 'frozen' "
            "does not. Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: t.update({"optimizer/model/first.bias/exp_avg": torch.zeros(5)}),
            "A checkpoint's optimiser must fit the trained parameters, but its state of "
            "'first.bias' does not. Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: t.update({"optimizer/model/first.bias/exp_avg_sq": torch.zeros(())}),
            "A checkpoint's optimiser must fit the trained parameters, but its state of "
            "'first.bias' does not. Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: _without(t, "optimizer/model/first.bias/exp_avg_sq"),
            "A checkpoint's optimiser must fit the trained parameters, but its state of "
            "'first.bias' does not. Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: _without(t, "optimizer/model/first.bias/step"),
            "A checkpoint's optimiser must fit the trained parameters, but its state of "
            "'first.bias' does not. Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: t.update({"optimizer/model/first.bias/momentum_buffer": torch.zeros(7)}),
            "A checkpoint's optimiser must fit the trained parameters, but its state of "
            "'first.bias' does not. Go on with the code and settings that wrote it.",
        ),
        (
            lambda t: t["optimizer/critic/layers.0.weight/exp_avg"][1, 2].fill_(torch.nan),
            "A checkpoint's optimiser must hold finite numbers, but its state of 'layers.0.weight' "
            "does not. Go on from an earlier checkpoint.",
        ),
        (
            lambda t: t.update({"random/cpu": torch.zeros(3)}),
            "A checkpoint's random state must fit torch's generator on 'cpu', but is torch.float32 "
            f"(3,), not torch.uint8 {tuple(torch.get_rng_state().shape)}. "
            "Go on with the release of torch that wrote it.",
        ),
    ],
)
def test_a_checkpoint_of_other_networks_is_refused(
    change: Callable[[dict[str, Tensor]], object], message: str, tmp_path: Path
) -> None:
    train_toy(Game(), settings(), tmp_path, stop=lambda: True)
    path = tmp_path / LAST
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata)
    with error(message):
        train_toy(Game(), settings(), tmp_path)


def test_muon_does_not_take_over_the_state_of_adamw(tmp_path: Path) -> None:
    config = settings()
    train_toy(Regression(), config, tmp_path, stop=lambda: True)
    muon = replace(config, optimizer=replace(config.optimizer, matrix_learning_rate=0.01))
    with error(
        "A checkpoint's optimiser must fit the trained parameters, but its state of "
        "'first.weight' does not. Go on with the code and settings that wrote it."
    ):
        train_toy(Regression(), muon, tmp_path)


def test_the_average_cannot_be_switched_on_half_way(tmp_path: Path) -> None:
    train_toy(Regression(), settings(ema_decay=None), tmp_path, stop=lambda: True)
    with pytest.raises(CheckpointError, match=r"^A checkpoint must fit the networks, but 8 of"):
        train_toy(Regression(), settings(), tmp_path)


def test_an_interrupted_step_is_not_in_the_checkpoint(tmp_path: Path) -> None:
    """What was written after it is from before it, too."""
    task = Regression()

    def fail(share: Share) -> None:
        if share.step == 6:
            raise RuntimeError("out of memory")

    task.before = fail
    with pytest.raises(RuntimeError, match=r"^out of memory$"):
        train_toy(task, settings(), tmp_path)
    with safe_open(tmp_path / LAST, framework="pt") as file:
        assert json.loads(file.metadata()["about"])["step"] == 4
