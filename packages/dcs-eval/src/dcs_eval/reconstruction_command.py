"""``dcs-eval reconstruction``: a tokenizer on pictures at every level count and scale."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dcs_common.atomic_file import write_atomically
from dcs_common.entry_points import find_tokenizer, tokenizer_names
from dcs_common.protocols import ImageTokenizer
from dcs_eval.command_arguments import (
    add_common_arguments,
    add_job_arguments,
    check_pictures,
    comparisons,
    positive,
    positive_real,
    prepare,
    read_pictures,
    read_share,
)
from dcs_eval.labelled_files import find_labelled
from dcs_eval.markdown import counted
from dcs_eval.pictures import find_pictures
from dcs_eval.protocols.feature_folders import level_distances, take_features
from dcs_eval.protocols.presets import find_protocol, protocol_names
from dcs_eval.protocols.reconstruction import (
    ORIGINALS_FOLDER,
    decoded_sets,
    prepare_pictures,
    reconstruction_record,
)
from dcs_eval.protocols.record import PROTOCOL_FILE
from dcs_eval.protocols.spaces import check_weights, protocol_space
from dcs_eval.reconstruction import evaluate_reconstruction, level_counts


def add_parser(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("reconstruction", help=run.__doc__)
    command.add_argument(
        "--tokenizer",
        default="dcs-tok",
        metavar="NAME",
        help=f"of {', '.join(tokenizer_names()) or 'installed packages'} (default: %(default)s)",
    )
    command.add_argument("--model", help="a folder or hub id (default: the tokenizer's own)")
    add_common_arguments(command, "reconstruction")
    command.add_argument(
        "--levels", nargs="+", type=positive, metavar="N", help="level counts (all)"
    )
    command.add_argument(
        "--scales",
        nargs="+",
        type=positive_real,
        default=[1.0],
        metavar="X",
        help="factors on height and width to decode at (default: 1)",
    )
    command.add_argument(
        "--protocol",
        metavar="NAME",
        help=f"measure as published, or not at all: {', '.join(protocol_names('reconstruction'))}",
    )
    command.add_argument(
        "--reference",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="of a protocol, which refuses all but `--data` itself",
    )
    command.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="of the network whose features a protocol compares (default: torch.hub's cache; "
        "I3D's must be given)",
    )
    add_job_arguments(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Quality of a tokenizer's decodes by levels, and how well scales agree."""
    device = prepare(args)
    if args.protocol is not None:
        return _run_protocol(args, device)
    if args.reference or args.weights:
        option = "--reference" if args.reference else "--weights"
        raise ValueError(
            f"`{option}` is of a protocol, but there is no `--protocol`. Leave it out, or name one "
            f"of {', '.join(protocol_names('reconstruction'))}."
        )
    read_share(args, None, extracts=False)
    paths = find_pictures(args.data, args.pictures)
    check_pictures(paths)
    metrics = comparisons(args, device)
    tokenizer = _tokenizer(args, device)
    pictures = _shown(read_pictures(paths, device), len(paths))
    report = evaluate_reconstruction(
        tokenizer,
        pictures,
        levels=args.levels,
        scales=args.scales,
        ssim=metrics.get("ssim"),
        lpips=metrics.get("lpips"),
    )
    args.output.mkdir(parents=True, exist_ok=True)
    report.save(args.output / "reconstruction.json")
    out = args.output / "reconstruction.md"
    write_atomically(out, (report.table(pictures=True) + "\n").encode())
    return f"wrote {out} and .json: {args.tokenizer} on {counted(len(paths))}"


def _run_protocol(args: argparse.Namespace, device: torch.device) -> str:
    protocol = find_protocol(args.protocol, "reconstruction")
    check_weights(protocol, args.weights)
    share = read_share(args, protocol, extracts=protocol.space is not None)
    if args.scales != [1.0] or args.pictures is not None:
        option = "--scales" if args.pictures is None else "--pictures"
        raise ValueError(
            f"{protocol.name} decodes every {protocol.media} at its own size, but there is "
            f"`{option}`. "
            f"Leave it out, or `--protocol`."
        )
    files = find_labelled(args.data, what="the data", media=protocol.media)
    pictures = prepare_pictures(protocol, args.data, args.reference, files)
    metrics = comparisons(args, device)
    space = protocol_space(protocol, args.weights, device)
    tokenizer = _tokenizer(args, device)
    levels = level_counts(args.levels, tokenizer.config.num_levels)
    name = args.tokenizer if args.model is None else f"{args.tokenizer}={args.model}"
    features = args.output / "features"
    if space is not None:
        sets = decoded_sets(pictures, tokenizer, levels, name=name, device=device)
        rest = take_features(sets, space, features, media=protocol.media, share=share)
        if rest is not None:
            return rest
    own = ((title, pixels.to(device)) for title, pixels in pictures)
    report = evaluate_reconstruction(
        tokenizer,
        _shown(own, len(pictures)),
        levels=levels,
        fps=None if protocol.clip is None else protocol.clip.fps,
        ssim=metrics.get("ssim"),
        lpips=metrics.get("lpips"),
    )
    args.output.mkdir(parents=True, exist_ok=True)
    report.save(args.output / "reconstruction.json")
    distances = {} if space is None else level_distances(levels, features, ORIGINALS_FOLDER)
    record = reconstruction_record(
        protocol,
        args.data,
        files,
        report,
        distances,
        name=name,
        space=None if space is None else space.name,
    )
    record.save(args.output / PROTOCOL_FILE)
    write_atomically(args.output / "reconstruction.md", record.markdown().encode())
    written = f"{PROTOCOL_FILE}, reconstruction.json, reconstruction.md"
    return f"{record.markdown()}\nwrote {written} into {args.output}"


def _tokenizer(args: argparse.Namespace, device: torch.device) -> ImageTokenizer:
    tokenizer = find_tokenizer(args.tokenizer, args.model)
    if isinstance(tokenizer, nn.Module):
        tokenizer.to(device)
    return tokenizer


def _shown(pictures: Iterable[tuple[str, Tensor]], count: int) -> Iterator[tuple[str, Tensor]]:
    yield from tqdm(pictures, total=count, disable=not sys.stderr.isatty(), leave=False)
