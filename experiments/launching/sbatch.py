"""What SLURM is given: Submitit's executor for a group of stages, and its sbatch file."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import SlurmExecutor

from launching.cluster import Cluster
from launching.run_folder import RunFolder
from launching.stage import Stage

EXPERIMENTS = Path(__file__).resolve().parents[1]


class _AnywhereExecutor(SlurmExecutor):
    """Prints sbatch files where there is no SLURM, too."""

    @classmethod
    def affinity(cls) -> int:
        return 1


def slurm_parameters(
    group: Sequence[Stage], cluster: Cluster, experiment: str, after: Sequence[str]
) -> dict[str, Any]:
    """Return Submitit's parameters for stages that share them.

    Args:
        group: one stage, or those of an array.
        cluster: where.
        experiment: its name.
        after: jobs that must have succeeded.
    """
    asked = group[0].resources
    parameters: dict[str, Any] = {
        "job_name": f"{experiment}.{group[0].array or group[0].name}",
        "time": asked.minutes,
        "nodes": asked.nodes,
        "ntasks_per_node": asked.tasks_per_node,
        "cpus_per_task": asked.cpus_per_task,
        "mem": f"{round(asked.memory_gb * 1024)}M",
        "signal_delay_s": cluster.signal_delay_s,
        "array_parallelism": cluster.array_parallelism,
        "setup": setup_lines(asked.cpus_per_task),
        # Preempted jobs come back, and those whose forerunner failed do not wait for ever.
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes"},
    }
    if asked.gpus_per_node:
        parameters["gpus_per_node"] = asked.gpus_per_node
    if after:
        parameters["dependency"] = "afterok:" + ":".join(after)
    for name in ("partition", "account", "qos", "constraint", "exclude"):
        if getattr(cluster, name) is not None:
            parameters[name] = getattr(cluster, name)
    return parameters


def setup_lines(cpus: int) -> list[str]:
    """Return the shell lines before a job's Python: where the experiments are, and threads."""
    return [
        f"export PYTHONPATH={shlex.quote(str(EXPERIMENTS))}${{PYTHONPATH:+:$PYTHONPATH}}",
        # What lies in the folder that a job starts in must not stand in for these modules.
        "export PYTHONSAFEPATH=1",
        f"export OMP_NUM_THREADS={cpus}",
        "export PYTHONUNBUFFERED=1",
    ]


def slurm_executor(
    run: RunFolder, cluster: Cluster, parameters: dict[str, Any], *, dry: bool = False
) -> SlurmExecutor:
    """Return an executor whose jobs write into a run's logs."""
    kind = _AnywhereExecutor if dry else SlurmExecutor
    executor = kind(
        folder=run.logs / "%j",
        max_num_timeout=cluster.max_timeouts,
        python=shlex.quote(sys.executable),
    )
    executor.update_parameters(**parameters)
    return executor


def sbatch_text(
    run: RunFolder, cluster: Cluster, group: Sequence[Stage], experiment: str, after: Sequence[str]
) -> str:
    """Return the sbatch file of a group of stages.

    Args:
        run, cluster, group, experiment: as in :func:`slurm_parameters`.
        after: what stands for the jobs that it waits for, which have no number yet.
    """
    executor = slurm_executor(
        run, cluster, slurm_parameters(group, cluster, experiment, after), dry=True
    )
    if len(group) > 1:
        executor.parameters["map_count"] = len(group)
    return executor._make_submission_file_text(executor._submitit_command_str, "")
