"""``dcs-eval generation``: samples of a generator against real pictures."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from dcs_common.atomic_file import write_atomically
from dcs_eval.command_arguments import add_machine_arguments, add_output_argument, prepare
from dcs_eval.generation import check_level_counts, evaluate_generation
from dcs_eval.labelled_files import LabelledFiles, find_labelled, find_levels
from dcs_eval.nearest_files import write_nearest
from dcs_eval.picture_set import PictureSet
from dcs_eval.squeezenet import SqueezeNetFeatures


def add_parser(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("generation", help=run.__doc__)
    command.add_argument(
        "samples",
        nargs="+",
        type=Path,
        metavar="SAMPLES",
        help="folders with level-1/CLASS/*.png or level-1/*.png and so on, one for each seed",
    )
    command.add_argument(
        "--reference",
        nargs="+",
        type=Path,
        required=True,
        metavar="PATH",
        help="folders or zips of real pictures that the generator was not trained on",
    )
    command.add_argument(
        "--train",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="those that it was trained on: adds the probe, nearest pictures and the floor",
    )
    command.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="columns name and class, for real pictures that are not in folders by class",
    )
    command.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="torchvision's squeezenet1_1 (default: torch.hub's cache)",
    )
    add_output_argument(command, "generation")
    add_machine_arguments(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Generated pictures by levels: distance to real ones, classes, nearest training pictures."""
    device = prepare(args)
    seeds = [find_levels(folder) for folder in args.samples]
    check_level_counts([{n: len(files) for n, files in levels.items()} for levels in seeds])
    reference = find_labelled(args.reference, args.labels)
    train = None
    if args.train:
        train = find_labelled(args.train, args.labels, what="the training set")
    _check_files([files for levels in seeds for files in levels.values()], reference, train)
    features = SqueezeNetFeatures(args.weights, device)
    report = evaluate_generation(
        [{n: _as_set(files, f"level {n}") for n, files in levels.items()} for levels in seeds],
        _as_set(reference, "reference"),
        features=features,
        train=None if train is None else _as_set(train, "training"),
        seed=args.seed,
    )
    args.output.mkdir(parents=True, exist_ok=True)
    report.save(args.output / "report.json")
    write_atomically(args.output / "report.md", report.markdown().encode())
    written = ["report.json", "report.md"]
    if train is not None:
        write_nearest(report, seeds, train, args.output)
        written += ["nearest.csv", "nearest.png"]
    return f"{report.markdown()}\nwrote {', '.join(written)} into {args.output}"


def _as_set(files: LabelledFiles, what: str) -> PictureSet:
    return PictureSet(pictures=_shown(files, what), labels=files.labels)


def _shown(pictures: LabelledFiles, what: str) -> Iterator[Tensor]:
    # A generator, so that a bar appears when its pictures are read, and not before.
    yield from tqdm(
        pictures, desc=what, total=len(pictures), disable=not sys.stderr.isatty(), leave=False
    )


def _check_files(
    samples: Sequence[LabelledFiles], reference: LabelledFiles, train: LabelledFiles | None
) -> None:
    """Read every picture once, so that a bad one stops a long run at its start."""
    for files in [*samples, reference, *([train] if train else [])]:
        for _ in _shown(files, "checking"):
            pass
