"""The command line of the toys, and what it leaves in a run folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
IMPORTED_FROM = (ROOT / "experiments", HERE, ROOT / "packages/dcs-common/tests")
PATIENCE = 600.0
"""Seconds; most of them pass while Python is started on a busy machine."""

WARNED_EARLY = ("--minutes", "3", "--signal-delay", "120")
"""The warning comes a minute after a job's start, or earlier, as SLURM looks twice a minute."""


class Run:
    """One run of the toys on SLURM.

    Args:
        folder: the run's.
        preset: of ``toy_stages``.
    """

    def __init__(self, folder: Path, preset: str) -> None:
        self.folder, self.preset = folder, preset
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command; it submits, and waits unless told otherwise."""
        command = [sys.executable, str(HERE / "toy_stages.py"), "--preset", self.preset]
        path = os.pathsep.join(map(str, IMPORTED_FROM))
        process = subprocess.Popen(
            [*command, "--run-folder", str(self.folder), "--device", "cpu", *arguments],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def command(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run the command to its end; return what it printed on both streams."""
        return ended(self.start(*arguments), code)

    def result(self, stage: str) -> dict[str, Any]:
        """Return what a stage gave."""
        return json.loads((self.stage(stage) / "result.json").read_text())["result"]

    def stage(self, stage: str) -> Path:
        """Return a stage's folder."""
        return self.folder / "stages" / stage

    def job(self, stage: str) -> str:
        """Return the number of a stage's job."""
        return json.loads((self.folder / "jobs.json").read_text())[stage]

    def log(self, stage: str, end: str = "0_log.err") -> str:
        """Return what a stage's job wrote to its standard error, or another of its files."""
        job = self.job(stage)
        return (self.folder / "logs" / job / f"{job}_{end}").read_text()

    def wait_for_step(self, step: int, stage: str = "train") -> None:
        """Wait until a toy's training has logged a step."""

        def logged() -> bool:
            path = self.stage(stage) / "run" / "scalars.jsonl"
            if not path.exists():
                return False
            lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
            return any(json.loads(line)["step"] >= step for line in lines)

        wait_until(logged, f"step {step} of {stage}")


def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Wait for a command's end; return what it printed on both streams."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, f"exit code {process.returncode}:\n{out}\n{err}"
    return out, err


def slurm(*command: str) -> str:
    """Run one of SLURM's commands; return its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def state(job: str) -> str:
    """Return a job's state, in SLURM's words."""
    return slurm("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")


def wait_for_state(job: str, *wanted: str) -> None:
    """Wait until a job is in one of some states."""
    wait_until(lambda: state(job) in wanted, f"{' or '.join(wanted)} of job {job}")


def take_the_machine(seconds: float) -> str:
    """Submit a job to `high` that needs all CPUs; return its number."""
    cpus = slurm("sinfo", "--noheader", "--partition=high", "--format=%c")
    return slurm(
        *("sbatch", "--parsable", "--partition=high", f"--cpus-per-task={cpus}", "--time=2"),
        *("--output=/dev/null", "--mem=100M", f"--wrap=sleep {seconds}"),
    )


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Wait for something; fail with its name."""
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until, f"waited {PATIENCE:g} s in vain for {what}"
        time.sleep(0.1)
