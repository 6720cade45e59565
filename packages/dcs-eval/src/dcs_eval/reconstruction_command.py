"""``dcs-eval reconstruction``: a tokenizer on pictures at every level count and scale."""

import argparse
import sys
from typing import Any

from torch import nn
from tqdm import tqdm

from dcs_common.atomic_file import write_atomically
from dcs_common.entry_points import find_tokenizer, tokenizer_names
from dcs_eval.command_arguments import (
    add_common_arguments,
    check_pictures,
    comparisons,
    positive,
    positive_real,
    prepare,
    read_pictures,
)
from dcs_eval.markdown import counted
from dcs_eval.pictures import find_pictures
from dcs_eval.reconstruction import evaluate_reconstruction


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
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Quality of a tokenizer's decodes by levels, and how well scales agree."""
    device = prepare(args)
    paths = find_pictures(args.data, args.pictures)
    check_pictures(paths)
    metrics = comparisons(args, device)
    tokenizer = find_tokenizer(args.tokenizer, args.model)
    if isinstance(tokenizer, nn.Module):
        tokenizer.to(device)
    pictures = tqdm(
        read_pictures(paths, device),
        total=len(paths),
        disable=not sys.stderr.isatty(),
        leave=False,
    )
    report = evaluate_reconstruction(
        tokenizer, pictures, levels=args.levels, scales=args.scales, **metrics
    )
    args.output.mkdir(parents=True, exist_ok=True)
    report.save(args.output / "reconstruction.json")
    out = args.output / "reconstruction.md"
    write_atomically(out, (report.table(pictures=True) + "\n").encode())
    return f"wrote {out} and .json: {args.tokenizer} on {counted(len(paths))}"
