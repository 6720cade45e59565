"""Several tasks of a job are one distributed run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from .front_door import WARNED_EARLY, Run, ended, take_the_machine

Runs = Callable[[str], Run]


def assert_one_process_does_the_same(run: Run, folder: Path) -> None:
    """Compare with the same training in this process."""
    import toy_stages
    import toy_training

    game = toy_training.Game(torch.float64)
    toy_training.train_toy(game, toy_training.settings(steps=toy_stages.STEPS), folder)
    alone, both = toy_training.saved(folder), toy_training.saved(run.stage("train") / "run")
    assert both.keys() - alone.keys() == {"random/cpu/1"}
    for key in alone.keys() - {"random/cpu"}:
        torch.testing.assert_close(both[key], alone[key], rtol=0, atol=1e-9, msg=key)


def test_all_reduce(run: Runs) -> None:
    reduce = run("reduce")
    reduce.command()
    assert reduce.result("reduce") == {"size": 2, "sum": 1, "gpus": "", "threads": "1"}


def test_gpus_are_those_asked_for(run: Runs) -> None:
    reduce = run("reduce-gpus")
    reduce.command()
    assert reduce.result("reduce") == {"size": 2, "sum": 1, "gpus": "0,1", "threads": "2"}
    reduce = run("reduce-gpus")
    reduce.command("--gpus", "3", "--cpus", "1")
    assert reduce.result("reduce") == {"size": 3, "sum": 3, "gpus": "0,1,2", "threads": "1"}


def test_two_processes_train_as_one(run: Runs, tmp_path: Path) -> None:
    training = run("train-two-fast")
    training.command()
    assert training.result("train")["processes"] == 2
    assert_one_process_does_the_same(training, tmp_path / "alone")


@pytest.mark.parametrize("how", ["preempted", "timed out"])
def test_two_processes_stop_and_go_on(run: Runs, how: str, tmp_path: Path) -> None:
    import toy_stages

    training = run("train-two")
    waiting = training.start(*(WARNED_EARLY if how == "timed out" else ()))
    if how == "preempted":
        training.wait_for_step(6)
        take_the_machine(1)
    ended(waiting)
    assert training.result("train")["restarts"] >= 1
    assert training.result("train")["steps"] == list(range(toy_stages.STEPS))  # none twice
    assert_one_process_does_the_same(training, tmp_path / "alone")
