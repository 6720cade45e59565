"""Running stages on this machine: one after the other in this process, or side by side."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from submitit.core.core import Job
from submitit.core.utils import environment_variables
from submitit.local.local import LocalExecutor

from launching.cluster import Cluster
from launching.job import StageJob, run_stage
from launching.run_folder import RunFolder
from launching.sbatch import EXPERIMENTS
from launching.stage import Stage
from launching.waiting import FINISHED, Progress, StageFailed, failure_message

_POLL_SECONDS = 0.2


def run_inline(run: RunFolder, stages: Sequence[Stage]) -> None:
    """Run all stages in this process, in order; whatever one raises goes through.

    Raises:
        Unfinished: if a stage was asked to stop.
    """
    progress = Progress(stages)
    for stage in stages:
        if not run.is_finished(stage.name):
            progress.say(stage.name, "running")
            run_stage(run, stage.name)
        progress.say(stage.name, FINISHED)


def run_local(run: RunFolder, cluster: Cluster, stages: Sequence[Stage]) -> None:
    """Run stages in processes of their own, as many at a time as there are cores for.

    Raises:
        StageFailed: if one ended without a result; those that do not need it have run.
    """
    progress = Progress(stages)
    most = cluster.parallel or max(1, _cores() // max(s.resources.cpus_per_task for s in stages))
    running: dict[str, Job[None]] = {}
    failed: dict[str, str] = {}
    while True:
        for name, job in list(running.items()):
            if not job.done():
                continue
            del running[name]
            if run.is_finished(name):
                progress.say(name, FINISHED)
            else:
                failed[name] = job.state
                progress.say(name, f"failed (job {job.job_id})")
        for stage in stages:
            if len(running) >= most:
                break
            if _is_ready(run, stage, running, failed):
                running[stage.name] = job = _start(run, cluster, stage)
                run.write_jobs({stage.name: job.job_id})
                progress.say(stage.name, f"running (job {job.job_id})")
        if not running:
            break
        time.sleep(_POLL_SECONDS)
    if failed:
        jobs = run.jobs()
        raise StageFailed(failure_message(run, failed, jobs))


def _is_ready(
    run: RunFolder, stage: Stage, running: dict[str, Job[None]], failed: dict[str, str]
) -> bool:
    if stage.name in running or stage.name in failed or run.is_finished(stage.name):
        return False
    return all(run.is_finished(name) for name in stage.after)


def _start(run: RunFolder, cluster: Cluster, stage: Stage) -> Job[None]:
    asked = stage.resources
    executor = LocalExecutor(run.logs / "%j", max_num_timeout=cluster.max_timeouts)
    executor.update_parameters(
        timeout_min=asked.minutes,
        tasks_per_node=asked.tasks_per_node,
        gpus_per_node=asked.gpus_per_node,
        signal_delay_s=cluster.signal_delay_s,
    )
    path = os.pathsep.join(filter(None, [str(EXPERIMENTS), os.environ.get("PYTHONPATH")]))
    variables = {"PYTHONPATH": path, "PYTHONSAFEPATH": 1, "OMP_NUM_THREADS": asked.cpus_per_task}
    with environment_variables(**variables):
        return executor.submit(StageJob(Path(run.path).absolute(), stage.name))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
