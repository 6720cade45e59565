"""A stage: one job of an experiment, or one array task."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a stage asks of a cluster.

    Attributes:
        nodes, tasks_per_node: processes of a distributed run; one task for each GPU.
        gpus_per_node, cpus_per_task: as SLURM counts them. Threads follow the latter.
        memory_gb: of a node.
        minutes: after which the job is warned, saves, and is queued again.
    """

    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    memory_gb: float = 4
    minutes: int = 60

    def __post_init__(self) -> None:
        least = {
            "nodes": 1,
            "tasks_per_node": 1,
            "gpus_per_node": 0,
            "cpus_per_task": 1,
            "memory_gb": 0.1,
            "minutes": 1,
        }
        for name, smallest in least.items():
            if not getattr(self, name) >= smallest:
                raise ValueError(
                    f"`{name}` must be at least {smallest}, but is {getattr(self, name)}."
                )


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of an experiment, which writes into a folder of its own and can be resumed there.

    Attributes:
        name: unique in the experiment, and its folder's.
        function: ``"module:function"``, a module of ``experiments/``; called as
            ``function(context, **arguments)``. It returns plain JSON.
        arguments: plain JSON; all that decides the outcome.
        after: names of stages, earlier in the list, that must have finished.
        resources: what it asks for.
        array: stages that follow one another with one name here become one SLURM array.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    resources: Resources = Resources()
    array: str | None = None


def check_stages(stages: Sequence[Stage]) -> None:
    """Check that stages can be run in their order.

    Raises:
        ValueError: if a name is used twice or is no folder's, a stage waits for one that does not
            come before it, or the stages of an array differ in what they ask for.
    """
    names: list[str] = []
    for stage in stages:
        if not _NAME.fullmatch(stage.name):
            raise ValueError(
                "A stage's name must be made of lower-case letters, digits, dots and dashes, but "
                f"is {stage.name!r}."
            )
        if stage.name in names:
            raise ValueError(f"A stage's name must be its own, but {stage.name!r} is used twice.")
        if ":" not in stage.function:
            raise ValueError(
                f"A stage's function must be 'module:function', but is {stage.function!r}."
            )
        for other in stage.after:
            if other not in names:
                raise ValueError(
                    f"A stage must come after those that it waits for, but {stage.name!r} waits "
                    f"for {other!r}. Before it are: {', '.join(names) or 'none'}."
                )
        names.append(stage.name)
    for group in in_arrays(stages):
        for stage in group[1:]:
            if stage.resources != group[0].resources:
                raise ValueError(
                    f"The stages of array {stage.array!r} must ask for the same, but "
                    f"{stage.name!r} asks for {stage.resources} and {group[0].name!r} for "
                    f"{group[0].resources}."
                )
            if {other.name for other in group} & set(stage.after):
                raise ValueError(
                    f"The stages of array {stage.array!r} run side by side, but {stage.name!r} "
                    "waits for another of them. Leave its array out."
                )


def in_arrays(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Return the stages in order, those of one array together."""
    groups: list[list[Stage]] = []
    for stage in stages:
        if groups and stage.array is not None and groups[-1][0].array == stage.array:
            groups[-1].append(stage)
        else:
            groups.append([stage])
    return groups
