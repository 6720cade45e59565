"""The half of a ``train`` command that tokenizer and generator share."""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dcs_common.atomic_file import write_atomically
from dcs_common.training.checkpoint import load_checkpoint
from dcs_common.training.config import TrainingConfig
from dcs_common.training.distributed import World
from dcs_common.training.loop import TrainingResult, train
from dcs_common.training.task import BatchSource, TrainingTask

MODEL_FOLDER = "model"
RUN_FILE = "run.json"
# What may differ between the two halves of an interrupted run.
_MAY_CHANGE = tuple(
    f"training.{name}"
    for name in (
        *("steps", "accumulate", "compile", "parallel"),
        *("checkpoint_every", "log_every", "validate_every", "images_every"),
    )
)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that :func:`changed_training` and ``--plan`` read, and where to run."""
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/RECIPE")
    parser.add_argument("--tiny", action="store_true", help="the recipe's form for a laptop")
    parser.add_argument("--plan", action="store_true", help="print what it costs and stop")
    parser.add_argument(
        "--memory", type=float, default=80e9, metavar="BYTES", help="of a device, for --plan"
    )
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="for --plan")
    parser.add_argument("--steps", type=int, metavar="N")
    parser.add_argument("--batch-size", type=int, metavar="N", help="over all processes")
    parser.add_argument("--accumulate", type=int, metavar="N", help="micro-batches of a step")
    parser.add_argument("--learning-rate", type=float, metavar="RATE")
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument(
        "--parallel",
        choices=("ddp", "fsdp"),
        help="copy the model to every process, or divide it among them",
    )
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument(
        "--checkpoint-activations", action="store_true", help="trade time for memory"
    )
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def changed_training(training: TrainingConfig, args: argparse.Namespace) -> TrainingConfig:
    """Return a recipe's settings with the command line's changes."""
    training = replace(training, seed=args.seed, compile=args.compile)
    for name in ("steps", "batch_size", "accumulate", "precision", "parallel"):
        value = getattr(args, name)
        if value is not None:
            training = replace(training, **{name: value})
    if args.learning_rate is None:
        return training
    optimizer = training.optimizer
    matrix = optimizer.matrix_learning_rate
    if matrix is not None:  # keep their ratio
        matrix *= args.learning_rate / optimizer.learning_rate
    optimizer = replace(optimizer, learning_rate=args.learning_rate, matrix_learning_rate=matrix)
    return replace(training, optimizer=optimizer)


def run_in_folder(
    make_task: Callable[[], TrainingTask],
    source: BatchSource,
    training: TrainingConfig,
    folder: Path,
    *,
    world: World,
    identity: Mapping[str, Any],
    arguments: Mapping[str, Any],
    package: str,
) -> TrainingResult:
    """Train in a run's folder, and write down there what the run is.

    Args:
        make_task: called once the folder is known to be this run's.
        source, training, folder, world, identity: as for :func:`train`.
        arguments: of the call, for the record.
        package: whose version the record gives.

    Raises:
        ValueError: as :func:`train`, or if the folder cannot be made.
    """
    # Another run's folder is refused here, before a line of it changes.
    load_checkpoint(folder, identity, _MAY_CHANGE)
    task = make_task()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"The output must be a folder that can be made, but {folder} cannot be "
            f"({error.strerror}). Name another with `--output`."
        ) from None
    if world.is_main:
        record = {
            "recipe": identity,
            "arguments": {name: str(value) for name, value in sorted(arguments.items())},
            "versions": {package: version(package), "torch": torch.__version__},
        }
        write_atomically(folder / RUN_FILE, (json.dumps(record, indent=1) + "\n").encode())
    return train(
        task, source, training, folder, world=world, identity=identity, may_change=_MAY_CHANGE
    )


def command_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return a command's arguments, for the record of :func:`run_in_folder`."""
    return {name: value for name, value in vars(args).items() if name != "run"}


def last_line(result: TrainingResult, training: TrainingConfig, name: str, folder: Path) -> str:
    """Return a command's last line about a run: done, or stopped on the way.

    Only the main process of several says it; the others say nothing.
    """
    if int(os.environ.get("RANK", "0")):
        return ""
    if not result.finished:
        return f"stopped at step {result.step} of {training.steps}; run again to go on"
    return (
        f"wrote {folder / MODEL_FOLDER}: {name}, {result.step} steps, {result.samples} samples, "
        f"{result.seconds:.0f} s in this call"
    )
