"""Two processes do what one does, with unused weights and micro-batches, and fail together.

So they do with all of a network in each of them (DDP) and with a part in each (FSDP2).
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from . import toy_training
from .toy_training import TASKS, lines, saved, settings, train_toy, write_result

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
    "blocks": {"task": "towers", "images_every": 4},
    "blocks in micro-batches": {"task": "towers", "accumulate": 2, "rare": [6, 8]},
    "matrices": {"task": "towers", "matrix_rate": 0.03},
    "without average": {"task": "towers", "ema_decay": None},
}
KINDS = ("ddp", "fsdp")
# Runs that stop and go on: the parts in order, as what differs from the run of that name.
FROM_A_REQUEST = "game in micro-batches"
PARTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    **{
        f"stopped {kind}": (
            FROM_A_REQUEST,
            [{"parallel": kind, "stop_at": 5, "stop_rank": 1}, {"parallel": kind}],
        )
        for kind in KINDS
    },
    "one goes on": ("game", [{"stop_at": 5}]),
    "opened": ("matrices", [{"parallel": "fsdp", "stop_at": 5}, {"parallel": "ddp"}]),
    "closed": ("matrices", [{"parallel": "ddp", "stop_at": 5}, {"parallel": "fsdp"}]),
    "left": ("matrices", [{"parallel": "fsdp", "stop_at": 5}]),
    "joined": ("matrices", [{"parallel": "fsdp"}]),  # one process has begun it
}
Folders = Callable[..., Path]


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
            out, err = process.communicate(timeout=150)
            done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    finally:
        for process in started:
            process.kill()
    return done


def alone(folder: Path, name: str, steps: float = inf) -> None:
    """Train a run in this process, for so many more steps."""
    asked, run = count(1), dict(RUNS[name])
    task = TASKS[run.pop("task")](torch.float64)
    train_toy(task, settings(**run), folder, stop=lambda: next(asked) == steps)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Give the folder of a run in two processes, in float64, by its name and kind.

    All of them in one pair of processes, which take longer to start than to train.
    """
    root = tmp_path_factory.mktemp("together")
    runs = [
        {"folder": str(root / kind / name), "dtype": "float64", "parallel": kind, **run}
        for kind in KINDS
        for name, run in RUNS.items()
    ]
    for name, (of, parts) in PARTS.items():
        folder = {"folder": str(root / "parts" / name), "dtype": "float64"}
        runs += [{**folder, **RUNS[of], **part} for part in parts]
    alone(root / "parts" / "joined", "matrices", 6)
    for done in launch(runs):
        assert done.returncode == 0, done.stderr
    return lambda name, kind="ddp": root / kind / name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_are_one(name: str, kind: str, together: Folders, tmp_path: Path) -> None:
    run = dict(RUNS[name])
    task = TASKS[run.pop("task")](torch.float64, rare=tuple(run.pop("rare", (0, 2))))
    run.pop("accumulate", None)
    train_toy(task, settings(**run), tmp_path)
    alone, both = saved(tmp_path), saved(together(name, kind))
    assert both.keys() - alone.keys() == {"random/cpu/1"}
    assert alone.keys() <= both.keys()
    for key in alone.keys() - {"random/cpu"}:
        torch.testing.assert_close(both[key], alone[key], rtol=0, atol=1e-9, msg=key)
    for one, other in zip(lines(tmp_path), lines(together(name, kind)), strict=True):
        assert other == pytest.approx(one, rel=0, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_go_on_to_the_same_numbers(kind: str, together: Folders) -> None:
    """Both stop for a request to one of them, and each gets its own random state back."""
    whole_run, both_parts = together(FROM_A_REQUEST, kind), together(f"stopped {kind}", "parts")
    whole, parts = saved(whole_run), saved(both_parts)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert not torch.equal(whole["random/cpu"], whole["random/cpu/1"])
    assert lines(both_parts) == lines(whole_run)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_number_in_one_process_stops_both(kind: str, tmp_path: Path) -> None:
    run = {"folder": str(tmp_path), "parallel": kind}
    both = launch([{**run, "nan_at": 6, "nan_rank": 1}])
    for done in both:
        assert done.returncode == 1
        assert "TrainingDiverged: " in done.stderr
        assert f"at step 7 the loss of 'model' is nan. The last good checkpoint is {tmp_path}" in (
            done.stderr
        )


def test_a_spoiled_weight_in_one_process_stops_both(tmp_path: Path) -> None:
    run = {"folder": str(tmp_path), "parallel": "fsdp", "rare": [0, 0], "spoil_at": 2}
    for done in launch([run]):
        assert done.returncode == 1
        assert "at step 4 the weights or optimiser of 'model' are not finite" in done.stderr
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_full_disk_stops_both(tmp_path: Path) -> None:
    first, second = launch([{"folder": str(tmp_path), "full_at": 7}])
    assert (first.returncode, second.returncode) == (1, 1)
    assert "of step 8 could not be ([Errno 28]" in first.stderr
    assert (
        "CheckpointError: A checkpoint must be written whole, but that of step 8 could not be. "
        "See the message of the main process." in second.stderr
    )


def test_one_process_goes_on_where_two_stopped(together: Folders) -> None:
    folder = together("one goes on", "parts")
    alone(folder, "game")
    whole, parts = saved(together("game")), saved(folder)
    for key in (key for key in parts if not key.startswith("random/")):
        torch.testing.assert_close(parts[key], whole[key], rtol=0, atol=1e-9, msg=key)


# ---------------------------------------------------------------------- divided among processes


@pytest.mark.parametrize("name", ["opened", "closed", "joined", "left"])
def test_a_run_goes_on_divided_in_another_way(name: str, together: Folders) -> None:
    """From each kind to the other, and from one process and back."""
    folder = together(name, "parts")
    if name == "left":
        alone(folder, "matrices")
    whole, parts = saved(together("matrices")), saved(folder)
    for key in (key for key in parts if not key.startswith("random/")):
        torch.testing.assert_close(parts[key], whole[key], rtol=0, atol=1e-9, msg=key)
    for one, other in zip(lines(together("matrices")), lines(folder), strict=True):
        assert other == pytest.approx(one, rel=0, abs=1e-9)


@pytest.mark.parametrize("name", ["plain", "blocks", "without average"])
def test_every_process_gets_the_whole_model(name: str, together: Folders, tmp_path: Path) -> None:
    run = dict(RUNS[name])
    task = TASKS[run.pop("task")](torch.float64)
    write_result(train_toy(task, settings(**run), tmp_path).model, tmp_path / "result.safetensors")
    expected = load_file(tmp_path / "result.safetensors")
    for rank in (0, 1):
        found = load_file(together(name, "fsdp") / f"result.{rank}.safetensors")
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-9, msg=key)


def test_each_process_holds_its_part_alone(together: Folders) -> None:
    """A part is rounded up to rows of a weight, and there are as many units as named, and one."""
    size = sum(p.numel() for p in TASKS["towers"]().networks["model"].parameters())
    held = [
        json.loads((together("blocks", "fsdp") / f"held.{rank}.json").read_text())
        for rank in (0, 1)
    ]
    assert sum(one["weights"] for one in held) == size
    assert all(0.45 * size < one["weights"] < 0.55 * size for one in held)
    assert all(one["parts"] == 4 for one in held)
    plain = json.loads((together("blocks", "ddp") / "held.0.json").read_text())
    assert plain == {"weights": size, "parts": 0}
