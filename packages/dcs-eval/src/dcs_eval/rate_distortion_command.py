"""``dcs-eval rate-distortion``: codecs on pictures, to a record, tables and a page."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dcs_common.atomic_file import write_atomically
from dcs_common.entry_points import codec_names, find_codec
from dcs_eval.command_arguments import (
    add_common_arguments,
    check_pictures,
    comparisons,
    positive_real,
    prepare,
    read_pictures,
)
from dcs_eval.crops import equal_bytes_crops
from dcs_eval.markdown import counted
from dcs_eval.page import page
from dcs_eval.pictures import find_pictures, spread
from dcs_eval.plot_file import plot_file
from dcs_eval.rate_distortion import rate_distortion
from dcs_eval.rate_distortion_record import RateDistortion
from dcs_eval.rivals import PillowCodec


def add_parser(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("rate-distortion", help=run.__doc__)
    command.add_argument(
        "--codecs",
        nargs="+",
        default=["jpeg", "webp", "jpeg2000", "avif"],
        metavar="CODEC",
        help=f"of {', '.join(codec_names())} (default: jpeg webp jpeg2000 avif)",
    )
    add_common_arguments(command, "rate-distortion")
    command.add_argument(
        "--crops",
        type=int,
        default=6,
        metavar="N",
        help="pictures to show side by side, evenly spread; 0 for none (default: %(default)s)",
    )
    command.add_argument(
        "--crop-bpp",
        nargs="+",
        type=positive_real,
        default=[0.15],
        metavar="X",
        help="bits per pixel of what is shown side by side (default: 0.15)",
    )
    command.add_argument(
        "--known",
        type=Path,
        metavar="RECORD",
        help="an earlier rate-distortion.json; what it holds already is not measured again",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Bytes against quality of codecs: a record, tables, and a page to look at."""
    device = prepare(args)
    codecs = {name: find_codec(name) for name in args.codecs}
    paths = find_pictures(args.data, args.pictures)
    check_pictures(paths)
    known = None if args.known is None else RateDistortion.load(args.known)
    metrics = comparisons(args, device)
    with tqdm(total=len(paths) * len(codecs), disable=not sys.stderr.isatty(), leave=False) as bar:

        def progress(what: str) -> None:
            bar.set_description(what)
            bar.update()

        record = rate_distortion(
            codecs, read_pictures(paths, device), known=known, progress=progress, **metrics
        )
    shown = spread(list(paths), max(args.crops, 0))
    crops = [
        equal_bytes_crops(codecs, record, name, pixels, bpp)
        for name, pixels in read_pictures({name: paths[name] for name in shown}, device)
        for bpp in args.crop_bpp
    ]
    subjects = [name for name, codec in codecs.items() if not isinstance(codec, PillowCodec)]
    args.output.mkdir(parents=True, exist_ok=True)
    record.save(args.output / "rate-distortion.json")
    write_atomically(args.output / "rate-distortion.md", record.markdown().encode())
    out = args.output / "rate-distortion.html"
    write_atomically(out, page(record, crops, subjects=subjects).encode())
    for metric in record.metrics:
        drawn = plot_file(record, metric, subjects=subjects)
        if drawn is not None:
            write_atomically(args.output / f"{metric}.svg", drawn.encode())
    return (
        f"wrote {out}, .md, .json and plots: {len(codecs)} codecs on {counted(len(paths))}, "
        f"{len(record.points)} files measured"
    )
