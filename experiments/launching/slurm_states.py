"""What SLURM says of jobs."""

import logging
import subprocess
from collections.abc import Sequence

import submitit.core.logger
from submitit.slurm.slurm import SlurmJob

GONE = (
    *("BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("REVOKED", "TIMEOUT"),
)
"""States in which a job will not go on by itself."""
UNKNOWN = "UNKNOWN"


def states_of(jobs: Sequence[str]) -> dict[str, str]:
    """Return the state of each job in SLURM's words; UNKNOWN where it does not say.

    ``squeue`` knows what waits and runs at once; ``sacct``, through Submitit, what is over.
    """
    found = _queued(jobs)
    found |= _accounted([job for job in jobs if job not in found])
    return {job: found[job] for job in jobs}


def _queued(jobs: Sequence[str]) -> dict[str, str]:
    arrays = sorted({job.partition("_")[0] for job in jobs})
    command = [
        *("squeue", "--noheader", "--states=all", "--array", "--format=%i|%T"),
        f"--jobs={','.join(arrays)}",
    ]
    # A job that the controller has forgotten makes it fail; so may the controller.
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    pairs = (line.strip().partition("|") for line in said.splitlines() if "|" in line)
    return {job: state for job, _, state in pairs if job in jobs}


def _accounted(jobs: Sequence[str]) -> dict[str, str]:
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
    return {job: words[0].rstrip("+") if words else UNKNOWN for job, words in said.items()}
