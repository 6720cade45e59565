"""What SLURM says of jobs."""

import logging
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import submitit.core.logger
from submitit.slurm.slurm import SlurmJob

GONE = (
    *("BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("REVOKED", "TIMEOUT"),
)
"""States in which a job will not go on by itself."""
UNKNOWN = "UNKNOWN"
_PENDING = "PENDING"
_NO_REASON = "None"


@dataclass(frozen=True)
class JobState:
    """A job's state.

    Attributes:
        word: SLURM's, such as RUNNING.
        reason: why a pending job does not run yet, such as Priority; empty where SLURM has none.
    """

    word: str
    reason: str = ""

    def __str__(self) -> str:
        """Return what a reader is shown: ``running``, or ``pending (Priority)``."""
        return self.word.lower() + (f" ({self.reason})" if self.reason else "")


def states_of(jobs: Sequence[str]) -> dict[str, JobState]:
    """Return the state of each job; UNKNOWN where SLURM does not say.

    ``squeue`` knows what waits and runs at once; ``sacct``, through Submitit, what is over.
    """
    found = queued(jobs)
    found |= _accounted([job for job in jobs if job not in found])
    return {job: found[job] for job in jobs}


def queued(jobs: Sequence[str]) -> dict[str, JobState]:
    """Return the state of each job that the controller has not forgotten."""
    arrays = sorted({job.partition("_")[0] for job in jobs})
    command = [
        *("squeue", "--noheader", "--states=all", "--array", "--format=%i|%T|%r"),
        f"--jobs={','.join(arrays)}",
    ]
    # A job that the controller has forgotten makes it fail; so may the controller.
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = {}
    for line in said.splitlines():
        job, _, state = line.strip().partition("|")
        word, _, reason = state.partition("|")
        if job in jobs:
            # What runs, or is over, has a "reason" as well, which explains nothing.
            waits = word == _PENDING and reason != _NO_REASON
            found[job] = JobState(word, reason if waits else "")
    return found


def _accounted(jobs: Sequence[str]) -> dict[str, JobState]:
    if not jobs:
        return {}
    watcher = SlurmJob.watcher
    for job in jobs:
        watcher.register_job(job)
    logger = submitit.core.logger.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # no accounting is no fault of the run's
    try:
        watcher.update()
    finally:
        logger.setLevel(level)
    said = {job: watcher.get_state(job, mode="cache").split() for job in jobs}
    return {
        job: JobState(words[0].rstrip("+") if words else UNKNOWN) for job, words in said.items()
    }
