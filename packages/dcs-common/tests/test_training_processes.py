"""Two processes do what one does, with unused weights and micro-batches, and fail together."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from . import toy_training
from .toy_training import TASKS, lines, saved, settings, train_toy

pytestmark = pytest.mark.slow

RUNS: dict[str, dict[str, Any]] = {
    "plain": {"task": "regression"},
    "game": {"task": "game"},
    "micro-batches": {"task": "regression", "accumulate": 2},
    "game in micro-batches": {"task": "game", "accumulate": 2},
    # `rare` has a gradient in the last share of one process only, or in the first.
    "used last": {"task": "regression", "accumulate": 2, "rare": [6, 8]},
    "used first": {"task": "regression", "accumulate": 2, "rare": [0, 2]},
    "never used": {"task": "regression", "rare": [0, 0]},
}


def launch(runs: list[dict[str, Any]], processes: int = 2) -> list[subprocess.CompletedProcess]:
    """Train toys in several processes, started as torchrun starts them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    started = []
    for rank in range(processes):
        variables = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        started.append(
            subprocess.Popen(
                [sys.executable, toy_training.__file__, json.dumps(runs)],
                env=os.environ | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    done = []
    try:
        for process in started:
            out, err = process.communicate(timeout=120)
            done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    finally:
        for process in started:
            process.kill()
    return done


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a run in two processes, in float64."""
    root = tmp_path_factory.mktemp("together")
    runs = [{"folder": str(root / name), "dtype": "float64", **run} for name, run in RUNS.items()]
    for done in launch(runs):
        assert done.returncode == 0, done.stderr
    return lambda name: root / name


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_are_one(name: str, together: Callable[[str], Path], tmp_path: Path) -> None:
    run = dict(RUNS[name])
    task = TASKS[run.pop("task")](torch.float64, rare=tuple(run.pop("rare", (0, 2))))
    run.pop("accumulate", None)
    train_toy(task, settings(**run), tmp_path)
    alone, both = saved(tmp_path), saved(together(name))
    assert both.keys() - alone.keys() == {"random/cpu/1"}
    assert alone.keys() <= both.keys()
    for key in alone.keys() - {"random/cpu"}:
        torch.testing.assert_close(both[key], alone[key], rtol=0, atol=1e-9, msg=key)
    for one, other in zip(lines(tmp_path), lines(together(name)), strict=True):
        assert other == pytest.approx(one, rel=0, abs=1e-9)


def test_two_processes_go_on_to_the_same_numbers(
    together: Callable[[str], Path], tmp_path: Path
) -> None:
    """Both stop for a request to one of them, and each gets its own random state back."""
    run = {"folder": str(tmp_path), "dtype": "float64", **RUNS["game in micro-batches"]}
    for done in launch([{**run, "stop_at": 5, "stop_rank": 1}, run]):
        assert done.returncode == 0, done.stderr
    whole, parts = saved(together("game in micro-batches")), saved(tmp_path)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert not torch.equal(whole["random/cpu"], whole["random/cpu/1"])
    assert lines(tmp_path) == lines(together("game in micro-batches"))


def test_a_bad_number_in_one_process_stops_both(tmp_path: Path) -> None:
    both = launch([{"folder": str(tmp_path), "nan_at": 6, "nan_rank": 1}])
    for done in both:
        assert done.returncode == 1
        assert "TrainingDiverged: " in done.stderr
        assert f"at step 7 the loss of 'model' is nan. The last good checkpoint is {tmp_path}" in (
            done.stderr
        )


def test_a_full_disk_stops_both(tmp_path: Path) -> None:
    first, second = launch([{"folder": str(tmp_path), "full_at": 7}])
    assert (first.returncode, second.returncode) == (1, 1)
    assert "of step 8 could not be ([Errno 28]" in first.stderr
    assert (
        "CheckpointError: A checkpoint must be written whole, but that of step 8 could not be. "
        "See the message of the main process." in second.stderr
    )


def test_one_process_goes_on_where_two_stopped(
    together: Callable[[str], Path], tmp_path: Path
) -> None:
    run = {"folder": str(tmp_path), "dtype": "float64", "task": "game"}
    for done in launch([{**run, "stop_at": 5}]):
        assert done.returncode == 0, done.stderr
    train_toy(TASKS["game"](torch.float64), settings(), tmp_path)
    whole, parts = saved(together("game")), saved(tmp_path)
    for key in (key for key in parts if not key.startswith("random/")):
        torch.testing.assert_close(parts[key], whole[key], rtol=0, atol=1e-9, msg=key)
