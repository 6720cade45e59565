"""Queueing a job again that was preempted and has stopped in time.

SLURM queues a preempted job again only if it must kill it. One that ends by itself within the grace
of its partition has failed, or is done: it has to ask. A cancelled job gets the same signal, and
would come back to life if it asked; SLURM's state for it tells them apart.
"""

import subprocess

import submitit

from launching.slurm_states import JobState, queued

_SECONDS = 60


def queue_again() -> bool:
    """Queue this job again if it is on SLURM and was not cancelled; tell whether it was.

    The first process of a job asks for all of them.
    """
    job = submitit.JobEnvironment()
    if job.cluster != "slurm" or job.global_rank != 0:
        return False
    if queued([job.job_id]).get(job.job_id) != JobState("RUNNING"):
        return False
    asked = ["scontrol", "requeue", job.job_id]
    return subprocess.run(asked, timeout=_SECONDS, check=False).returncode == 0
