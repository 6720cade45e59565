"""How a run goes: ``python experiments/status.py runs/ablation_margin-tiny``; or cancel it."""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from launching.run_folder import RunFolder
from launching.slurm_states import JobState, states_of
from launching.stage import Stage
from launching.waiting import FINISHED

SCALARS = "scalars.jsonl"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each stage; return 2 if the folder is no run's."""
    parser = argparse.ArgumentParser(prog="status.py", description="How a run goes.")
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--cancel", action="store_true", help="cancel its jobs on SLURM")
    args = parser.parse_args(argv)
    run = RunFolder(args.run)
    try:
        stages = run.stages()
        jobs = {
            stage: job for stage, job in run.jobs().items() if not run.is_finished(stage)
        }  # of stages that have given no result
        states = states_of(list(jobs.values())) if jobs and shutil.which("squeue") else {}
        if args.cancel:
            print(_cancel(jobs))
        print("\n".join(lines(run, stages, jobs, states)))
    except ValueError as error:
        print(f"status.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def lines(
    run: RunFolder,
    stages: Sequence[Stage],
    jobs: Mapping[str, str],
    states: Mapping[str, JobState],
) -> list[str]:
    """Return the table: stage, state, job, last step that was logged, folder of the logs.

    Args:
        run: its folder.
        stages: in order.
        jobs: of those that have not finished.
        states: of those jobs, as SLURM has them; empty where there is no SLURM.
    """
    rows = [("stage", "state", "job", "step", "seconds", "log")]
    for stage in stages:
        job = jobs.get(stage.name, "")
        seconds, state = "", str(states.get(job, "not started" if not job else "unknown"))
        if run.is_finished(stage.name):
            seconds, state = f"{run.finished_stage(stage.name)['seconds']:.0f}", FINISHED
        log = run.logs / job if job else ""
        rows.append((stage.name, state, job, _last_step(run.stage(stage.name)), seconds, str(log)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _last_step(folder: Path) -> str:
    """Return the last step that a training in a stage's folder has logged."""
    logs = sorted(folder.glob(f"**/{SCALARS}"), key=lambda path: path.stat().st_mtime)
    for path in reversed(logs):
        for line in reversed(path.read_text(encoding="utf-8").splitlines()):
            try:
                return str(json.loads(line)["step"])
            except (ValueError, KeyError):
                continue
    return ""


def _cancel(jobs: Mapping[str, str]) -> str:
    if not shutil.which("scancel"):
        raise ValueError(
            "`--cancel` must run where `scancel` is, but there is none on PATH. Log in to the "
            "cluster that runs the jobs; runs elsewhere end with their command."
        )
    if jobs:
        subprocess.run(["scancel", *jobs.values()], check=True)
    return f"cancelled {len(jobs)} jobs"


if __name__ == "__main__":
    raise SystemExit(main())
