"""A training that is stopped in any way ends with the weights that it would have had anyhow."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from .front_door import (
    WARNED_EARLY,
    Run,
    ended,
    slurm,
    state,
    take_the_machine,
    wait_for_state,
    wait_until,
)

Runs = Callable[[str], Run]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same training, here and without a pause."""
    import toy_stages
    import toy_training

    folder = tmp_path_factory.mktemp("undisturbed")
    toy = toy_training.Regression(torch.float64)
    toy.draws_globally = True
    torch.manual_seed(7)
    toy_training.train_toy(toy, toy_training.settings(steps=toy_stages.STEPS), folder)
    return folder


def assert_undisturbed(run: Run, undisturbed: Path, *, repeated: int = 0) -> None:
    """Compare weights, averages, optimisers, random states and the log, bit for bit.

    Args:
        run: the one that was interrupted.
        undisturbed: the folder of the other.
        repeated: most steps that may have been done twice; each was done once at least.
    """
    import toy_stages
    import toy_training

    toy_training.assert_same_run(run.stage("train") / "run", undisturbed)
    steps = run.result("train")["steps"]
    assert sorted(set(steps)) == list(range(toy_stages.STEPS))
    assert len(steps) - toy_stages.STEPS <= repeated


def kill(run: Run) -> str:
    """Kill the training's process for good; return its job."""
    run.wait_for_step(6)
    os.kill(int((run.stage("train") / "process.0").read_text()), signal.SIGKILL)
    return run.job("train")


def test_time_limit(run: Runs, undisturbed: Path) -> None:
    training = run("train")
    _, err = training.command(*WARNED_EARLY)
    assert training.result("train")["restarts"] >= 1
    assert_undisturbed(training, undisturbed)
    assert "this job is timed-out" in training.log("train")
    requeued = err.partition("train: running")[2]
    assert re.search(rf"train: pending( \(.+\))? \(job {training.job('train')}\)\n", requeued)


def test_preemption(run: Runs, undisturbed: Path) -> None:
    training = run("train")
    waiting = training.start()
    training.wait_for_step(6)
    other = take_the_machine(2)
    ended(waiting)
    assert state(other) == "COMPLETED"
    assert training.result("train")["restarts"] == 1
    assert_undisturbed(training, undisturbed)
    # It stopped between two steps, and not where its grace ends.
    assert "stage 'train' stopped: after step " in training.log("train")
    assert "DUE TO PREEMPTION" not in training.log("train")


def test_preemption_of_what_does_not_listen(run: Runs) -> None:
    standing = run("stand")
    waiting = standing.start()
    wait_until((standing.stage("stand") / "first").exists, "its start")
    take_the_machine(1)
    ended(waiting)
    assert standing.result("stand")["restarts"] == 1


def test_killed_and_requeued(run: Runs, undisturbed: Path) -> None:
    training = run("train")
    training.command("--no-wait")
    job = kill(training)
    wait_for_state(job, "FAILED")
    slurm("scontrol", "requeue", job)
    wait_for_state(job, "RUNNING")
    training.command()  # submits the report anew, which was cancelled when the job died
    assert training.job("train") == job
    assert training.result("train")["restarts"] == 1
    assert_undisturbed(training, undisturbed, repeated=4)


def test_killed_and_run_again(run: Runs, undisturbed: Path) -> None:
    training = run("train")
    waiting = training.start()
    job = kill(training)
    _, err = ended(waiting, code=1)
    assert f"Stage 'train' (job {job}, FAILED) ended with:\n" in err
    assert "Killed" in err
    training.command()
    assert training.job("train") != job
    assert_undisturbed(training, undisturbed, repeated=4)


def test_cancelled_stays_cancelled(run: Runs, undisturbed: Path) -> None:
    training = run("train")
    waiting = training.start()
    training.wait_for_step(6)
    job = training.job("train")
    slurm("scancel", job)
    _, err = ended(waiting, code=1)
    assert f"Stage 'train' (job {job}, CANCELLED) ended with:\n" in err
    assert state(job) == "CANCELLED"
    training.command()
    assert training.job("train") != job
    assert_undisturbed(training, undisturbed, repeated=4)


def test_two_commands_run_one_training(run: Runs, undisturbed: Path) -> None:
    training = run("train-fast")
    training.command("--no-wait")
    job = training.job("train")
    one = training.start()
    assert one.stderr is not None
    one.stderr.readline()  # it waits, and is not about to submit any more
    other = training.start()
    ended(one)
    ended(other)
    assert training.job("train") == job
    assert_undisturbed(training, undisturbed)


def test_tokenizer_is_the_same_inline_and_preempted(run: Runs) -> None:
    preempted, inline = run("tokenizer"), run("tokenizer")
    waiting = preempted.start()
    preempted.wait_for_step(2)
    take_the_machine(1)
    ended(waiting)
    assert preempted.result("train")["restarts"] == 1
    inline.command("--cluster", "inline")
    one, other = (each.stage("train") / "run" / "model" for each in (preempted, inline))
    names = {path.name for path in one.iterdir()}
    assert names >= {"config.json", "model.safetensors"}
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
