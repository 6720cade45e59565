"""Two commands on one run folder: the second is told so, and nothing is submitted twice."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_stages import EXPERIMENT

from launching.experiment import run_command
from launching.run_folder import RunFolder
from launching.run_lock import locked

HERE = Path(__file__).resolve().parent
HOLD = """
from pathlib import Path
from launching.run_folder import RunFolder
from launching.run_lock import locked

with locked(RunFolder(Path("run"))):
    print("held", flush=True)
    input()
"""
ARGUMENTS = ("--cluster", "inline", "--run-folder", "run")


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the lock of the folder "run" until it is given a line."""
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_command_is_refused(
    holder: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(EXPERIMENT, ARGUMENTS) == 2
    assert capsys.readouterr().err == (
        "small_stages: error: A run must be started by one command at a time, but process "
        f"{holder.pid} on {socket.gethostname()} is at work on run. Wait until it has submitted "
        "its jobs or ended, and give the command again; `python experiments/status.py run` shows "
        "how the run goes.\n"
    )
    assert [path.name for path in Path("run").iterdir()] == ["lock"]
    holder.communicate("\n")
    assert run_command(EXPERIMENT, ARGUMENTS) == 0


def test_a_killed_command_leaves_no_lock(holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert run_command(EXPERIMENT, ARGUMENTS) == 0


def test_two_commands_submit_every_stage_once(tmp_path: Path) -> None:
    """The first is held up in its first `sbatch` until the second has been refused."""
    programs, submitted, go_on = tmp_path / "programs", tmp_path / "submitted", tmp_path / "go-on"
    programs.mkdir()
    for name, script in {
        "sbatch": f"echo x >>{submitted}\n"
        f"for _ in $(seq 600); do [ -e {go_on} ] && break; sleep 0.1; done\n"
        f'echo "Submitted batch job $((100 + $(wc -l <{submitted})))"',
        "squeue": "exit 1",
        "sacct": "exit 1",
        "srun": "",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    command = [
        *(sys.executable, "-c"),
        "from small_stages import EXPERIMENT; from launching import main; main(EXPERIMENT)",
        "--no-wait",
    ]
    path = os.pathsep.join([str(HERE.parent), str(HERE / "toys")])
    environment = os.environ | {
        "PYTHONPATH": path,
        "PATH": f"{programs}:/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
    }

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )

    with start() as first:
        while not submitted.exists():
            assert first.poll() is None
            time.sleep(0.1)
        with start() as second:
            _, said = second.communicate(timeout=120)
        go_on.touch()
        first.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 2)
    assert f"but process {first.pid} on " in said
    run = RunFolder(tmp_path / "runs/small_stages-tiny")
    assert run.jobs() == {"count-0": "101_0", "count-1": "101_1", "sum": "102", "report": "103"}
    assert submitted.read_text() == "x\n" * 3


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ValueError) as error, locked(RunFolder(tmp_path)):
        pass
    assert str(error.value) == (
        f"A run folder must be on a file system that can lock files, but {tmp_path}/lock cannot be "
        "locked (No locks available). Name another with `--run-folder`."
    )


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError) as error, locked(RunFolder(tmp_path / "file")):
        pass
    assert str(error.value) == (
        f"The run folder must be one that can be written, but {tmp_path}/file cannot be (File "
        "exists). Name another with `--run-folder`."
    )
