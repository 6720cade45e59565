"""Giving stages to SLURM."""

from collections.abc import Sequence

from submitit.core.utils import FailedJobError

from launching.cluster import Cluster
from launching.job import StageJob
from launching.run_folder import RunFolder
from launching.sbatch import sbatch_text, slurm_executor, slurm_parameters
from launching.slurm_states import GONE, UNKNOWN, states_of
from launching.stage import Stage, in_arrays


def submit(run: RunFolder, cluster: Cluster, stages: Sequence[Stage], experiment: str) -> None:
    """Submit every stage that has neither finished nor a job that may still finish it.

    Each waits for the jobs of the stages that it comes after. Which job is whose is written down
    as soon as it is known, so that nothing is submitted twice.

    Raises:
        ValueError: if SLURM refuses a job.
    """
    for group in in_arrays(stages):
        jobs = run.jobs()
        wanted = [
            stage
            for stage in group
            if not (run.is_finished(stage.name) or _may_finish(jobs.get(stage.name)))
        ]
        if not wanted:
            continue
        needed = {name for stage in wanted for name in stage.after if not run.is_finished(name)}
        after = sorted({jobs[name] for name in needed})
        parameters = slurm_parameters(wanted, cluster, experiment, after)
        executor = slurm_executor(run, cluster, parameters)
        try:
            found = executor.submit_array(
                [StageJob(run.path.absolute(), stage.name) for stage in wanted]
            )
        except FailedJobError as error:
            raise ValueError(_refusal(wanted[0], cluster, str(error))) from None
        pairs = zip(wanted, found, strict=True)
        run.write_jobs({stage.name: job.job_id for stage, job in pairs})


def dry_run(run: RunFolder, cluster: Cluster, stages: Sequence[Stage], experiment: str) -> str:
    """Return the sbatch files of all stages that have not finished, with what they wait for."""
    texts = []
    for group in in_arrays(stages):
        wanted = [stage for stage in group if not run.is_finished(stage.name)]
        if not wanted:
            continue
        needed = [name for stage in wanted for name in stage.after if not run.is_finished(name)]
        after = [f"<{name}>" for name in dict.fromkeys(needed)]
        names = ", ".join(stage.name for stage in wanted)
        texts.append(f"# ---- {names}\n" + sbatch_text(run, cluster, wanted, experiment, after))
    return "\n".join(texts)


def _may_finish(job_id: str | None) -> bool:
    if job_id is None:
        return False
    state = states_of([job_id])[job_id].word
    return state not in (*GONE, "COMPLETED", UNKNOWN)


def _refusal(stage: Stage, cluster: Cluster, said: str) -> str:
    reason = next((line for line in reversed(said.splitlines()) if line.strip()), said)
    for prefix in ("sbatch: error: ", "Batch job submission failed: "):
        reason = reason.strip().removeprefix(prefix)
    asked, place = stage.resources, vars(cluster)
    flags = {
        "nodes": asked.nodes,
        "gpus": asked.gpus_per_node or None,
        "cpus": asked.cpus_per_task,
        "memory-gb": f"{asked.memory_gb:g}",
        "minutes": asked.minutes,
    } | {name: place[name] for name in ("partition", "account", "qos", "constraint", "exclude")}
    given = " ".join(f"--{name} {value}" for name, value in flags.items() if value is not None)
    return (
        f"SLURM must accept the job of each stage, but refused that of {stage.name!r}: {reason}. "
        f"It was asked for `{given}`. Ask for less, or name another partition, account or QOS: "
        "`sinfo -o '%P %l %c %m %G'` lists what partitions have, `sacctmgr show assoc` your "
        "accounts."
    )
