"""Waiting for stages, and saying how they go."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence

from launching.job_output import last_lines
from launching.run_folder import RunFolder
from launching.slurm_states import GONE, JobState, states_of
from launching.stage import Stage

FINISHED = "finished"


class StageFailed(Exception):  # noqa: N818  the stage's error is what it shows
    """Stages failed; the message names them and shows what they printed last."""


class Progress:
    """Prints a line whenever a stage's state changes."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._total = len(stages)
        self._said: dict[str, str] = {}

    def say(self, stage: str, state: str) -> None:
        """Tell a stage's state, once."""
        if self._said.get(stage) == state:
            return
        self._said[stage] = state
        done = sum(said == FINISHED for said in self._said.values())
        print(f"[{done}/{self._total}] {stage}: {state}", file=sys.stderr, flush=True)


def wait_for_slurm(
    run: RunFolder,
    stages: Sequence[Stage],
    *,
    states: Callable[[Sequence[str]], Mapping[str, JobState]] = states_of,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until every stage has finished or cannot any more.

    Args:
        run: its folder.
        stages: all of them, submitted.
        states: asks SLURM.
        sleep: waits some seconds.

    Raises:
        StageFailed: if jobs ended without a result.
    """
    progress, began = Progress(stages), time.monotonic()
    jobs = run.jobs()
    suspected: set[str] = set()
    failed: dict[str, str] = {}
    while True:
        open_stages = []
        for stage in stages:
            if run.is_finished(stage.name):
                progress.say(stage.name, FINISHED)
            elif stage.name not in failed:
                open_stages.append(stage.name)
        if not open_stages:
            break
        found = states([jobs[name] for name in open_stages])
        for name in open_stages:
            state = found[jobs[name]]
            over = state.word in (*GONE, "COMPLETED")
            # A result may take a moment to be seen from here: look twice.
            if over and name in suspected and not run.is_finished(name):
                failed[name] = state.word
                progress.say(name, f"{state} (job {jobs[name]})")
            elif over:
                suspected.add(name)
            else:
                suspected.discard(name)
                progress.say(name, f"{state} (job {jobs[name]})")
        sleep(min(30.0, max(1.0, (time.monotonic() - began) / 20)))
    if failed:
        raise StageFailed(failure_message(run, failed, jobs))


def failure_message(run: RunFolder, failed: Mapping[str, str], jobs: Mapping[str, str]) -> str:
    """Return what is to be said about stages that ended without a result.

    Args:
        run: its folder.
        failed: state of each in the cluster's words.
        jobs: of each.
    """
    # Those whose forerunner failed were cancelled before they began, and have nothing to tell.
    told = {
        name: state
        for name, state in failed.items()
        if not (state == "CANCELLED" and not run.stage(name).exists())
    } or dict(failed)
    lines = [
        f"{len(failed)} of the stages did not finish. Run the same command again to go on from "
        "what they left."
    ]
    for name, state in told.items():
        lines.append(f"Stage {name!r} (job {jobs[name]}, {state}) ended with:")
        lines.append(last_lines(run.logs, jobs[name]))
    waiting = [name for name in failed if name not in told]
    if waiting:
        lines.append(f"Not begun, as they wait for those: {', '.join(waiting)}.")
    return "\n".join(lines)
