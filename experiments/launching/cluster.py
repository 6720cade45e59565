"""Where stages run, and how a cluster is asked for it."""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from launching.stage import Resources, Stage

Kind = Literal["slurm", "local", "inline"]

LEAST_WORK_S = 60
"""Between a job's start and its warning. SLURM looks twice a minute: some of it may be lost."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What the command line says about where stages run.

    Attributes:
        kind: "slurm", "local" (processes on this machine, by Submitit) or "inline" (in this
            process, one after the other).
        partition, account, qos, constraint, exclude: as sbatch has them.
        array_parallelism: tasks of an array at a time.
        parallel: stages at a time on "local"; None for as many as there are cores for.
        signal_delay_s: how long before its end a job is warned; what a checkpoint may take.
        max_timeouts: how often a stage may run into its time limit and be queued again.
    """

    kind: Kind
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    array_parallelism: int = 256
    parallel: int | None = None
    signal_delay_s: int = 90
    max_timeouts: int = 100


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that :func:`cluster_of` and :func:`with_resources` read."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--cluster",
        choices=get_args(Kind),
        help="default: slurm where `sbatch` exists, else inline (in this process)",
    )
    for name in ("partition", "account", "qos", "constraint", "exclude"):
        group.add_argument(f"--{name}", metavar="NAME", help="as sbatch has it")
    group.add_argument("--nodes", type=int, metavar="N", help="of stages that use GPUs")
    group.add_argument("--gpus", type=int, metavar="N", help="of a node, in stages that use GPUs")
    group.add_argument("--cpus", type=int, metavar="N", help="of a task")
    group.add_argument("--memory-gb", type=float, metavar="GB", help="of a node")
    group.add_argument("--minutes", type=int, metavar="N", help="of a job, before it is requeued")
    group.add_argument("--array-parallelism", type=int, default=256, metavar="N")
    group.add_argument("--parallel", type=int, metavar="N", help="stages at a time on `local`")
    group.add_argument(
        "--signal-delay", type=int, default=90, metavar="S", help="warning before the time limit"
    )
    group.add_argument("--dry-run", action="store_true", help="print the sbatch files and stop")
    group.add_argument(
        "--no-wait", action="store_true", help="submit and return; status.py tells how it goes"
    )


def cluster_of(args: argparse.Namespace) -> Cluster:
    """Return where stages run.

    Raises:
        ValueError: if SLURM is asked for where there is none, or its settings are given elsewhere.
    """
    has_slurm = shutil.which("sbatch") is not None
    kind: Kind = args.cluster or ("slurm" if has_slurm or args.dry_run else "inline")
    if kind == "slurm" and not has_slurm and not args.dry_run:
        raise ValueError(
            "`--cluster slurm` must run where `sbatch` is, but there is none on PATH. Log in to "
            "the cluster, or use `--cluster local` or `inline`. A one-node SLURM for trials: "
            "experiments/slurm/one_node.sh."
        )
    for name in ("partition", "account", "qos", "constraint", "exclude"):
        value = getattr(args, name)
        if value is not None and kind != "slurm":
            raise ValueError(
                f"`--{name}` is for SLURM, but the cluster is {kind!r} and it is {value!r}. "
                "Leave it out, or use `--cluster slurm`."
            )
    if args.no_wait and kind != "slurm":
        raise ValueError(
            f"`--no-wait` is for SLURM, but the cluster is {kind!r}. Leave it out: nothing else "
            "would start the stages that wait for others."
        )
    if args.dry_run and kind != "slurm":
        raise ValueError(
            f"`--dry-run` prints what SLURM would get, but the cluster is {kind!r}. Use "
            "`--cluster slurm`, or `--plan` for what it costs."
        )
    return Cluster(
        kind=kind,
        partition=args.partition,
        account=args.account,
        qos=args.qos,
        constraint=args.constraint,
        exclude=args.exclude,
        array_parallelism=_positive("array-parallelism", args.array_parallelism),
        parallel=None if args.parallel is None else _positive("parallel", args.parallel),
        signal_delay_s=_positive("signal-delay", args.signal_delay),
    )


def with_resources(stages: Sequence[Stage], args: argparse.Namespace) -> list[Stage]:
    """Return stages that ask for what the command line says.

    Raises:
        ValueError: if GPUs or nodes are given for an experiment that uses none, or a number is out
            of range.
    """
    uses_gpus = any(stage.resources.gpus_per_node for stage in stages)
    if not uses_gpus and (args.nodes is not None or args.gpus is not None):
        raise ValueError(
            "`--nodes` and `--gpus` are for presets with stages on GPUs, but this one has none. "
            "Leave them out."
        )
    return [replace(stage, resources=_changed(stage.resources, args)) for stage in stages]


def check_limits(cluster: Cluster, stages: Sequence[Stage]) -> None:
    """Check that jobs get on before they are warned, and are not queued again for ever.

    Raises:
        ValueError: if the time limit of a stage leaves too little before the warning.
    """
    if cluster.kind == "inline":  # there is no limit
        return
    needed = cluster.signal_delay_s + LEAST_WORK_S
    for stage in stages:
        limit = 60 * stage.resources.minutes
        if limit < needed:
            raise ValueError(
                f"A job's time limit must be at least its warning and {LEAST_WORK_S} s to work in, "
                f"but stage {stage.name!r} has {limit} s and is warned {cluster.signal_delay_s} s "
                "before they end: it would be queued again without having got on. Use `--minutes "
                f"{-(-needed // 60)}` or more{_shorter_warning(limit)}."
            )


def _shorter_warning(limit: int) -> str:
    longest = limit - LEAST_WORK_S
    return f", or `--signal-delay {longest}` or less" if longest > 0 else ""


def _changed(resources: Resources, args: argparse.Namespace) -> Resources:
    changes = {
        "cpus_per_task": args.cpus,
        "memory_gb": args.memory_gb,
        "minutes": args.minutes,
    }
    if resources.gpus_per_node:
        changes |= {
            "nodes": args.nodes,
            "gpus_per_node": args.gpus,
            "tasks_per_node": args.gpus,
        }
    return replace(resources, **{key: value for key, value in changes.items() if value is not None})


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"`--{name}` must be at least 1, but is {value}.")
    return value
