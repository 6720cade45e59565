"""An experiment of toys, whose jobs are killed, preempted and counted; each preset is one test's.

python experiments/tests/slurm/toy_stages.py --preset array
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from launching import Context, Experiment, Options, Resources, Stage, Unfinished, main
from records import Report, Table

PATIENCE = 120.0
STEPS = 90
PAUSE = 1.0
"""Seconds in each step, until a training is interrupted for the first time."""


# ---------------------------------------------------------------------- stages


def meet(context: Context, *, number: int, others: Sequence[str]) -> dict[str, Any]:
    """Wait until all of the array are there, as they are only if they run side by side."""
    (context.folder / "here").touch()
    until = time.monotonic() + PATIENCE
    while not all((context.folder_of(other) / "here").exists() for other in others):
        if time.monotonic() > until:
            raise ValueError("The tasks of an array must run side by side, but one waits in vain.")
        time.sleep(0.1)
    return {"square": number**2, "task": os.environ["SLURM_ARRAY_TASK_ID"]}


def add(context: Context, *, stages: Sequence[str]) -> dict[str, Any]:
    """Add what other stages gave, and say when they had to be there."""
    began = time.time()
    return {"sum": sum(context.result(stage)["square"] for stage in stages), "began": began}


def square(context: Context, *, number: int) -> dict[str, Any]:
    """Take a second."""
    time.sleep(1)
    return {"square": number**2, "ended": time.time()}


def fail(context: Context) -> dict[str, Any]:
    """Fail with a message of its own."""
    raise ValueError("A toy must be whole, but this one is broken. Take another.")


def crash(context: Context) -> dict[str, Any]:
    """Die as where memory runs out: without a word of Python's."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def all_reduce(context: Context) -> dict[str, Any]:
    """Sum the ranks of all processes."""
    from dcs_common.training import joined_world

    with joined_world(context.device) as world:
        mean = world.means({"rank": float(world.rank)})["rank"]
        return {
            "size": world.size,
            "sum": mean * world.size,
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "threads": os.environ["OMP_NUM_THREADS"],
        }


def train(context: Context, *, steps: int, pause: float, task: str) -> dict[str, Any]:
    """Train a toy in as many processes as there are; note each step, and pause in it at first."""
    import torch
    import toy_training

    from dcs_common.training import Share, joined_world

    with joined_world(context.device) as world:
        (context.folder / f"process.{world.rank}").write_text(str(os.getpid()))
        toy = toy_training.TASKS[task](torch.float64)
        toy.draws_globally = world.size == 1  # then random states must come back, too
        run, took = context.folder / "run", context.folder / "steps"
        paused = 0.0 if (run / "checkpoint.safetensors").exists() else pause

        def before(share: Share) -> None:
            time.sleep(paused)
            if world.is_main:
                with took.open("a") as file:
                    file.write(f"{share.step}\n")

        toy.before = before
        torch.manual_seed(7 + world.rank)
        settings = toy_training.settings(steps=steps)
        found = toy_training.train_toy(toy, settings, run, world=world)
        if not found.finished:
            raise Unfinished(f"after step {found.step} of {settings.steps}")
        return {
            "steps": [int(step) for step in took.read_text().split()],
            "processes": world.size,
            "restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        }


def train_tokenizer(context: Context, *, steps: int) -> dict[str, Any]:
    """Train no toy but the ablations' tokenizer, on the photos that they use."""
    from ablations.small_tokenizer import small_recipe
    from dcs_tok.training.recipe import LossWeights
    from sources.photos import photo_paths
    from systems.tokenizer_runs import run_tokenizer

    recipe = small_recipe("toy", LossWeights(), seed=1, steps=steps, batch_size=2)
    recipe = replace(recipe, training=replace(recipe.training, log_every=2))
    photos, _ = photo_paths(context.options, context.run / "photos")
    run_tokenizer(context, recipe, context.folder / "run", data=photos)
    return {"restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0"))}


def stand(context: Context, *, seconds: float) -> dict[str, Any]:
    """Take no notice of any warning the first time; be quick the second time."""
    first = context.folder / "first"
    if not first.exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        first.touch()
        time.sleep(seconds)
        return {"restarts": -1}
    return {"restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0"))}


def report(context: Context) -> Report:
    """Report which stages there were."""
    rows = tuple((stage,) for stage in context.stages)
    return Report(tables=(Table(title="Stages", columns=("stage",), rows=rows),))


# ---------------------------------------------------------------------- presets


def _stage(function: str, name: str | None = None, **rest: Any) -> Stage:
    resources = rest.pop("resources", Resources(memory_gb=0.5, minutes=5))
    function_name = f"toy_stages:{function}"
    return Stage(name=name or function, function=function_name, resources=resources, **rest)


def _array(_options: Options) -> list[Stage]:
    names = [f"meet-{number}" for number in range(4)]
    tasks = [
        _stage("meet", name, arguments={"number": number, "others": names}, array="meet")
        for number, name in enumerate(names)
    ]
    return [*tasks, _stage("add", arguments={"stages": names}, after=tuple(names))]


def _order(_options: Options) -> list[Stage]:
    squares = [_stage("square", f"square-{i}", arguments={"number": i}) for i in (2, 3)]
    first = _stage("add", "first", arguments={"stages": ["square-2"]}, after=("square-2",))
    both = ("square-2", "square-3")
    return [*squares, first, _stage("add", "both", arguments={"stages": both}, after=both)]


def _failing(function: str) -> list[Stage]:
    good = _stage("square", "good", arguments={"number": 5})
    waits = _stage("add", "waits", arguments={"stages": ["bad"]}, after=("bad",))
    return [good, _stage(function, "bad"), waits]


def _training(task: str, *, pause: float = PAUSE, **asked: Any) -> list[Stage]:
    return [_stage("train", arguments={"steps": STEPS, "pause": pause, "task": task}, **asked)]


_TWO = Resources(tasks_per_node=2, memory_gb=1, minutes=5)
_LARGE = Resources(memory_gb=2, minutes=30)
_GPUS = Resources(tasks_per_node=2, gpus_per_node=2, cpus_per_task=2, memory_gb=1, minutes=5)

EXPERIMENT = Experiment(
    name="toy_stages",
    title="Toys on SLURM",
    paper="The paper has no toys.",
    presets={
        "array": _array,
        "order": _order,
        "fail": lambda _: _failing("fail"),
        "crash": lambda _: _failing("crash"),
        "train": lambda _: _training("regression"),
        "train-fast": lambda _: _training("regression", pause=0.0),
        "train-two": lambda _: _training("game", resources=_TWO),
        "train-two-fast": lambda _: _training("game", pause=0.0, resources=_TWO),
        "tokenizer": lambda _: [
            _stage("train_tokenizer", "train", arguments={"steps": 150}, resources=_LARGE)
        ],
        "reduce": lambda _: [_stage("all_reduce", "reduce", resources=_TWO)],
        "reduce-gpus": lambda _: [_stage("all_reduce", "reduce", resources=_GPUS)],
        "stand": lambda _: [_stage("stand", arguments={"seconds": 120})],
    },
    plans={},
    report="toy_stages:report",
    report_resources=Resources(memory_gb=0.5, minutes=5),
)

if __name__ == "__main__":
    main(EXPERIMENT)
