"""An experiment that takes no time, for the tests of launching."""

from typing import Any

from launching import Context, Experiment, Options, Resources, Stage, Unfinished
from records import Claim, Report, Table


def count(context: Context, *, start: int, by: int = 1) -> dict[str, int]:
    """Count on from what stages before gave; note each call in the stage's folder."""
    with (context.folder / "calls").open("a") as file:
        file.write("called\n")
    before = [context.result(name)["value"] for name in context.stages if name != context.stage]
    return {"value": start + by + sum(before)}


def fail(context: Context) -> None:
    """Fail the first time, as a job does that a node takes down with it."""
    mark = context.folder / "failed"
    if not mark.exists():
        mark.touch()
        raise RuntimeError("this stage fails once")


def stop(context: Context) -> dict[str, int]:
    """Stop the first time, as a training does that is asked to."""
    mark = context.folder / "stopped"
    if not mark.exists():
        mark.touch()
        raise Unfinished("at step 3")
    return {"value": 3}


def report(context: Context) -> Report:
    """Report what was counted."""
    rows: list[tuple[Any, ...]] = [(name, context.result(name)["value"]) for name in context.stages]
    return Report(
        tables=(Table(title="Counts", columns=("stage", "value"), rows=tuple(rows)),),
        claims=(
            Claim(
                statement="It counts",
                source="Fig. 0",
                paper="1",
                ours="1",
                verdict="reproduced in sign",
            ),
        ),
    )


def stages(options: Options) -> list[Stage]:
    """Two that run side by side, and one after both."""
    return [
        *(
            Stage(
                name=f"count-{seed}",
                function="small_stages:count",
                arguments={"start": seed},
                resources=Resources(memory_gb=1, minutes=5),
                array="count",
            )
            for seed in range(options.seeds)
        ),
        Stage(
            name="sum",
            function="small_stages:count",
            arguments={"start": 10},
            after=tuple(f"count-{seed}" for seed in range(options.seeds)),
        ),
    ]


def gpu_stages(options: Options) -> list[Stage]:
    """One that trains on two nodes."""
    del options
    resources = Resources(nodes=2, tasks_per_node=4, gpus_per_node=4, cpus_per_task=8, minutes=1440)
    return [Stage(name="train", function="small_stages:count", resources=resources)]


EXPERIMENT = Experiment(
    name="small_stages",
    title="Figure 0: nothing",
    paper="Nothing.",
    presets={"tiny": stages, "paper": gpu_stages},
    plans={"tiny": lambda options: f"{options.seeds} seeds, no time", "paper": lambda _: "2 nodes"},
    report="small_stages:report",
    seeds={"tiny": 2},
)
