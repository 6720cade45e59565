"""``dcs-eval reconstruction``: a tokenizer at every level count, scale and frame rate."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dcs_common.atomic_file import write_atomically
from dcs_eval.clip_arguments import add_clip_arguments, check_clips, read_clip_rule, read_clips
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
from dcs_eval.labelled_files import find_files, find_labelled
from dcs_eval.markdown import counted
from dcs_eval.pictures import find_pictures
from dcs_eval.protocols.checks import check_count, check_random_seed, check_reference
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
from dcs_eval.tokenizer_arguments import load_tokenizer, tokenizer_help


def add_parser(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("reconstruction", help=run.__doc__)
    command.add_argument(
        "--tokenizer",
        default="dcs-tok",
        metavar="NAME",
        help=f"{tokenizer_help()} (default: %(default)s)",
    )
    command.add_argument("--model", help="a folder or hub id (default: the tokenizer's own)")
    add_common_arguments(
        command,
        "reconstruction",
        data="pictures, or folders of pictures; with --fps videos and animated WebP, or folders or "
        "zips of them",
    )
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
    add_clip_arguments(command)
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
    """Quality of a tokenizer's decodes by levels, and how well scales and frame rates agree."""
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
    rule = read_clip_rule(args)
    data: Iterable[tuple[str, Tensor]]
    if rule is None:
        paths = find_pictures(args.data, args.pictures)
        check_pictures(paths)
        data, count = read_pictures(paths, device), len(paths)
    else:
        files = find_files(args.data, args.pictures, "clip")
        check_clips(files, rule)
        data, count = read_clips(files, rule, device), len(files)
    metrics = comparisons(args, device)
    tokenizer = load_tokenizer(args.tokenizer, args.model, device)
    report = evaluate_reconstruction(
        tokenizer,
        _shown(data, count),
        levels=args.levels,
        scales=args.scales,
        fps=None if rule is None else rule.fps,
        rates=args.rates,
        ssim=metrics.get("ssim"),
        lpips=metrics.get("lpips"),
    )
    args.output.mkdir(parents=True, exist_ok=True)
    report.save(args.output / "reconstruction.json")
    out = args.output / "reconstruction.md"
    text = report.table(pictures=True) + "\n"
    if rule is not None:
        text += f"\nClips: {rule.text}.\n"
    write_atomically(out, text.encode())
    what = counted(count, "picture" if rule is None else "clip")
    return f"wrote {out} and .json: {args.tokenizer} on {what}"


def _run_protocol(args: argparse.Namespace, device: torch.device) -> str:
    protocol = find_protocol(args.protocol, "reconstruction")
    check_weights(protocol, args.weights)
    share = read_share(args, protocol, extracts=protocol.space is not None)
    check_random_seed(protocol, args.seed)
    chosen = {"scales": args.scales != [1.0], "pictures": args.pictures}
    chosen |= {"fps": args.fps, "frames": args.frames, "rates": args.rates}
    if given := [option for option, value in chosen.items() if value]:
        raise ValueError(
            f"{protocol.name} says itself which {protocol.media}s are decoded and how, but there "
            f"is `--{given[0]}`. Leave it out, or `--protocol`."
        )
    files = find_labelled(args.data, what="the data", media=protocol.media)
    # Reading 50,000 pictures takes long: what else may be refused comes first.
    check_reference(protocol, args.reference, data=args.data)
    check_count(protocol, len(files))
    metrics = comparisons(args, device)
    space = protocol_space(protocol, args.weights, device)
    tokenizer = load_tokenizer(args.tokenizer, args.model, device)
    levels = level_counts(args.levels, tokenizer.config.num_levels)
    pictures = prepare_pictures(protocol, files)
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


def _shown(pictures: Iterable[tuple[str, Tensor]], count: int) -> Iterator[tuple[str, Tensor]]:
    yield from tqdm(pictures, total=count, disable=not sys.stderr.isatty(), leave=False)
