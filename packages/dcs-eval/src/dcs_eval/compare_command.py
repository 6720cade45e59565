"""``dcs-eval compare``: tokenizers side by side, generators side by side, or both."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dcs_common.atomic_file import write_atomically
from dcs_common.protocols import ImageTokenizer
from dcs_eval.command_arguments import (
    add_common_arguments,
    add_real_pictures,
    comparisons,
    positive,
    positive_real,
    prepare,
)
from dcs_eval.comparison.generator_comparison import GeneratorComparison
from dcs_eval.comparison.generators import check_equal_counts, compare_generators
from dcs_eval.comparison.sampling_times import SAMPLING_FILE, SamplingTimes
from dcs_eval.comparison.short_side import at_short_side
from dcs_eval.comparison.tokenizer_comparison import TokenizerComparison
from dcs_eval.comparison.tokenizers import compare_tokenizers
from dcs_eval.features.squeezenet import SqueezeNetFeatures
from dcs_eval.floor_arguments import add_floor_arguments, check_floor_request, read_floors
from dcs_eval.generation_checks import check_level_counts
from dcs_eval.labelled_files import (
    LabelledFile,
    LabelledFiles,
    find_files,
    find_labelled,
    find_levels,
)
from dcs_eval.progress import as_set, check_files, shown
from dcs_eval.tokenizer_arguments import load_spec, spec_titles, tokenizer_help

#: The version of ``compare.json``.
COMPARISON_FORMAT = 2


def add_parser(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("compare", help=run.__doc__)
    add_common_arguments(
        command, "compare", data="pictures, or folders or zips of pictures", required=False
    )
    command.add_argument(
        "--tokenizers",
        nargs="+",
        metavar="NAME[=MODEL]",
        help=f"{tokenizer_help()}; MODEL is a folder or hub id (default: the tokenizer's own)",
    )
    command.add_argument(
        "--short-sides",
        nargs="+",
        type=positive,
        default=[128, 256, 512],
        metavar="PIXELS",
        help="to reduce every picture to (default: 128 256 512)",
    )
    command.add_argument(
        "--levels", nargs="+", type=positive, metavar="N", help="level counts (all)"
    )
    command.add_argument(
        "--target-psnr",
        type=positive_real,
        metavar="DB",
        help="adds how many levels and tokens it takes",
    )
    command.add_argument(
        "--samples",
        nargs="+",
        metavar="NAME=FOLDER[,FOLDER...]",
        help="of generators: folders with level-1/CLASS/*.png and so on, one for each seed",
    )
    add_real_pictures(command, required=False)
    add_floor_arguments(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Tokenizers over levels and scales, generators over levels: side by side."""
    device = prepare(args)
    _check_request(args)
    generators = _generators(args) if args.samples else None
    found: list[TokenizerComparison | GeneratorComparison] = []
    if args.tokenizers:
        found.append(_compare_tokenizers(args, device))
    if generators is not None:
        found.append(_compare_generators(args, generators, device))
    content: dict[str, Any] = {"format": COMPARISON_FORMAT}
    for comparison in found:
        content |= comparison.content()
    report = "\n".join(comparison.markdown() for comparison in found)
    args.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(args.output / "compare.json", text.encode() + b"\n")
    write_atomically(args.output / "compare.md", report.encode())
    return f"{report}\nwrote compare.md and compare.json into {args.output}"


class _Pictures:
    """Names and pixels of files, read anew for every tokenizer and scale."""

    def __init__(self, files: Mapping[str, LabelledFile], device: torch.device) -> None:
        self._names = tuple(files)
        self._files = LabelledFiles(tuple(files.values()))
        self._device = device

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, pixels in zip(self._names, shown(self._files, "pictures"), strict=True):
            yield name, pixels.to(self._device)


def _check_request(args: argparse.Namespace) -> None:
    if not args.tokenizers and not args.samples:
        raise ValueError(
            "There must be something to compare, but neither `--tokenizers` nor `--samples` is "
            "given. Name tokenizers and pictures, or generators and their samples."
        )
    pairs = {"--tokenizers": "--data", "--samples": "--reference"}
    for option, needed in pairs.items():
        values = [getattr(args, name[2:]) for name in (option, needed)]
        if bool(values[0]) != bool(values[1]):
            there, absent = (option, needed) if values[0] else (needed, option)
            raise ValueError(
                f"`{option}` and `{needed}` go together, but there is `{there}` alone. "
                f"Add `{absent}`."
            )
    if args.floor and not args.samples:
        raise ValueError(
            "`--floor` stands beside generators, but there is no `--samples`. Name their samples, "
            "or tokenizers under `--tokenizers`."
        )
    check_floor_request(args)


def _compare_tokenizers(args: argparse.Namespace, device: torch.device) -> TokenizerComparison:
    pictures = _Pictures(find_files(args.data, args.pictures), device)
    for name, pixels in pictures:  # a bad one stops a long run at its start
        at_short_side(pixels, max(args.short_sides), name)
    metrics = comparisons(args, device)
    return compare_tokenizers(
        _tokenizers(args.tokenizers, device),
        pictures,
        short_sides=args.short_sides,
        levels=args.levels,
        target_psnr=args.target_psnr,
        ssim=metrics.get("ssim"),
        lpips=metrics.get("lpips"),
    )


def _tokenizers(specs: Sequence[str], device: torch.device) -> dict[str, ImageTokenizer]:
    """Return tokenizers by the names that tables give them."""
    found: dict[str, ImageTokenizer] = {}
    for spec, name in zip(specs, spec_titles(specs), strict=True):
        if name in found:
            raise ValueError(f"Each tokenizer must come once, but {spec} came twice. Leave one.")
        found[name] = load_spec(spec, device)
    return found


def _generators(args: argparse.Namespace) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for spec in args.samples:
        name, _, folders = spec.partition("=")
        if not name or not folders or "" in folders.split(","):
            raise ValueError(
                "`--samples` must be NAME=FOLDER, or NAME=FOLDER,FOLDER for several seeds, but is "
                f"{spec!r}. Name the generator and its folders."
            )
        if name in found:
            raise ValueError(
                f"Each generator must come once, but {name} came twice. Give its folders at once, "
                "with commas between them."
            )
        found[name] = [Path(folder) for folder in folders.split(",")]
    return found


def _compare_generators(
    args: argparse.Namespace, generators: Mapping[str, Sequence[Path]], device: torch.device
) -> GeneratorComparison:
    files = {
        name: [find_levels(folder) for folder in folders] for name, folders in generators.items()
    }
    counts: dict[str, int] = {}
    for name, seeds in files.items():
        check_level_counts([{n: len(some) for n, some in levels.items()} for levels in seeds])
        counts[name] = len(next(iter(seeds[0].values())))
    check_equal_counts(counts)
    times = {
        name: [found for folder in folders if (found := _times(folder, counts[name]))]
        for name, folders in generators.items()
    }
    reference = find_labelled(args.reference, args.labels)
    train = None
    if args.train:
        train = find_labelled(args.train, args.labels, what="the training set")
    every = [some for seeds in files.values() for levels in seeds for some in levels.values()]
    check_files([*every, reference, train])
    floors = read_floors(
        args,
        reference,
        levels=sorted({level for seeds in files.values() for level in seeds[0]}),
        samples=next(iter(counts.values())),
        device=device,
    )
    with tqdm(
        total=1 + bool(floors) + len(files), disable=not sys.stderr.isatty(), leave=False
    ) as bar:

        def progress(what: str) -> None:
            bar.set_description(what)
            bar.update()

        return compare_generators(
            {
                name: [{n: as_set(some, f"level {n}") for n, some in s.items()} for s in seeds]
                for name, seeds in files.items()
            },
            as_set(reference, "reference"),
            features=SqueezeNetFeatures(args.weights, device),
            train=None if train is None else as_set(train, "training"),
            times=times,
            floors=floors,
            seed=args.seed,
            progress=progress,
        )


def _times(folder: Path, samples: int) -> SamplingTimes | None:
    found = SamplingTimes.read(folder)
    if found is not None and found.samples != samples:
        raise ValueError(
            f"{SAMPLING_FILE} must be of the samples beside it, but {folder / SAMPLING_FILE} is of "
            f"{found.samples} and there are {samples}. Sample again, or remove it to leave times "
            "out."
        )
    return found
