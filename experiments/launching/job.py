"""What runs a stage, in a job or here.

What Submitit pickles is a run folder and a stage's name; everything else is read from disk, so that
a job that is started anew, for whatever reason, goes on from what the last one left.
"""

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission, TorchDistributedEnvironment

from launching.context import Context, Unfinished
from launching.requeue import queue_again
from launching.run_folder import RunFolder
from launching.stage import Stage

EXIT_UNFINISHED = 75
"""EX_TEMPFAIL: nothing failed, run it again."""
_ATTEMPTS = "attempts.jsonl"


class StageJob:
    """The callable that Submitit pickles."""

    def __init__(self, run: Path, stage: str) -> None:
        self.run, self.stage = run, stage

    def __call__(self) -> None:
        """Run the stage; leave the job early where it is to be queued again."""
        _join_processes()
        try:
            run_stage(RunFolder(self.run), self.stage)
        except Unfinished as reason:
            print(f"stage {self.stage!r} stopped: {reason}", file=sys.stderr)
            queue_again()
            raise SystemExit(EXIT_UNFINISHED) from None
        # A warning while Python ends would kill it: SLURM would call failed what is done.
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    def checkpoint(self) -> DelayedSubmission:
        """Return what Submitit queues after a time-out or a preemption."""
        return DelayedSubmission(StageJob(self.run, self.stage))


def run_stage(run: RunFolder, name: str) -> None:
    """Run a stage unless it has finished, and write its result.

    Raises:
        Unfinished: if it was asked to stop.
        ValueError: if the run has no such stage.
    """
    if run.is_finished(name):
        return
    stage = _find(run, name)
    folder = run.stage(name)
    folder.mkdir(parents=True, exist_ok=True)
    context = Context(stage=name, run=run.path, options=run.options())
    is_main = os.environ.get("RANK", "0") == "0"
    began = time.time()
    try:
        result = function_of(stage.function)(context, **stage.arguments)
    finally:
        if is_main:
            _note_attempt(folder, began)
    if is_main:
        import records  # brings torch, which the command line need not wait for

        run.write_result(stage, result, _seconds(folder), records.this_machine())


def function_of(name: str) -> Any:
    """Return the function that ``"module:function"`` names."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _find(run: RunFolder, name: str) -> Stage:
    for stage in run.stages():
        if stage.name == name:
            return stage
    names = ", ".join(stage.name for stage in run.stages())
    raise ValueError(f"The run must have a stage {name!r}, but has: {names}.")


def _join_processes() -> None:
    """Tell torch which of the job's processes this is, from the scheduler's variables."""
    if submitit.JobEnvironment().num_tasks > 1:
        # Each process takes the GPU of its local rank; all of them stay visible.
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)


def _note_attempt(folder: Path, began: float) -> None:
    line = {"began": round(began, 2), "seconds": round(time.time() - began, 2)}
    with (folder / _ATTEMPTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _seconds(folder: Path) -> float:
    """Return how long all attempts took; one that was killed left no line and does not count."""
    lines = (folder / _ATTEMPTS).read_text(encoding="utf-8").splitlines()
    return float(sum(json.loads(line)["seconds"] for line in lines))
