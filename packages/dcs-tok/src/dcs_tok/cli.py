"""The ``dcs-tok`` command."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from dcs_common.command_line import parse_size, run_command
from dcs_common.latents import Latents
from dcs_common.pretrained import CONFIG_FILE
from dcs_tok import clips, demo, klt, pictures
from dcs_tok.allocation import allocate_levels
from dcs_tok.command_arguments import (
    allocation_arguments,
    check_output_file,
    frames_argument,
    load_model,
    model_arguments,
)
from dcs_tok.compression import command as compression
from dcs_tok.data import packing
from dcs_tok.progress import show_progress
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training import command as training
from dcs_tok.training import context_task


def encode(args: argparse.Namespace) -> str:
    """Picture or clip to a latent file."""
    out = check_output_file(args.output)
    if clips.is_clip(args.input):
        clip = clips.read_clip(args.input, *args.frames)
        pixels, fps = clip.pixels, clip.fps
    else:
        if args.frames != (0, None):
            raise ValueError(
                f"`--frames` is for clips, but {args.input} is no clip by its ending. Leave it out."
            )
        picture = pictures.read_picture(args.input)
        for note in picture.notes:
            print(f"dcs-tok: note: {note}", file=sys.stderr)
        pixels, fps = picture.pixels, None
    tok = load_model(args)
    pixels, levels = pixels.to(args.device), args.levels
    if args.average_levels is not None:
        levels = allocate_levels(
            pixels,
            args.average_levels,
            maximum=args.levels,
            method=args.allocation,
            model=tok,
            fps=fps,
            patches=args.patches,
        )
    with show_progress(tok, "encoding"):
        latents = tok.encode(pixels, fps, levels, args.patches)
    latents.save(out)
    t, h, w = latents.grid
    return (
        f"wrote {out}: {t} x {h} x {w} patches, {latents.num_levels} levels of "
        f"{latents.tokens.shape[-1]} channels, {out.stat().st_size} bytes"
    )


def decode(args: argparse.Namespace) -> str:
    """Latent file to a picture or clip."""
    latents = Latents.load(args.input)
    if len(latents.tokens) != 1:
        raise ValueError(
            f"A latent file to decode must hold one sample, but {args.input} holds "
            f"{len(latents.tokens)}. Decode batches from Python."
        )
    check = pictures.check_picture_path if latents.fps is None else clips.check_clip_path
    out = check(check_output_file(args.output))
    tok = load_model(args)
    with show_progress(tok, "decoding"):
        pixels = tok.decode(latents, args.size, args.fps, args.levels)[0]
    if latents.fps is None:
        pictures.write_picture(out, pixels)
        shape = f"{pixels.shape[2]}x{pixels.shape[1]}"
    else:
        fps = args.fps or latents.fps
        clips.write_clip(out, pixels, fps)
        shape = f"{pixels.shape[3]}x{pixels.shape[2]}, {pixels.shape[1]} frames at {fps} fps"
    levels = min(int(latents.levels.max()), args.levels or latents.num_levels)
    return f"wrote {out}: {shape} from {levels} levels, {out.stat().st_size} bytes"


def info(args: argparse.Namespace) -> str:
    """Describe a compressed file, a latent file or a model folder."""
    path = Path(args.input)
    if compression.is_file(path):
        return compression.describe(path)
    if path.is_dir() or (args.input in DCSTok.bundled) or path.name == CONFIG_FILE:
        tok = DCSTok.from_pretrained(path.parent if path.name == CONFIG_FILE else args.input)
        count = sum(parameter.numel() for parameter in tok.parameters())
        fixed = tok.config.patch_pixels
        patches = f"k = {tok.config.patches_short_side}" if fixed is None else f"{fixed} px patches"
        channels = f"{tok.config.latent_channels} channels"
        if tok.config.posterior:
            channels += " with variances"
        return (
            f"{args.input}: DCS-Tok, {count / 1e6:.2f} M parameters, {tok.config.num_levels} "
            f"levels of {channels}, {patches}, fingerprint {tok.fingerprint}"
        )
    latents = Latents.load(path)
    b, t, h, w, _, c = latents.tokens.shape
    height, width = latents.size
    source = f"{width}x{height}"
    if latents.fps is not None:
        source += f", {latents.frames} frames at {latents.fps} fps"
    return (
        f"{path}: latents of {b} x {source}; {t} x {h} x {w} patches, levels "
        f"{int(latents.levels.min())} to {int(latents.levels.max())} (mean "
        f"{float(latents.levels.float().mean()):.2f}) of {c} channels, "
        f"{str(latents.tokens.dtype).removeprefix('torch.')}, tokenizer {latents.tokenizer}"
    )


def _fit_linear(args: argparse.Namespace) -> str:
    check_output_file(args.output)
    return klt.run(args)


def _demo(args: argparse.Namespace) -> str:
    return demo.run(args.photo, args.output, load_model(args))


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="dcs-tok",
        description="Pictures and clips of any scale as hierarchical latents of fixed size.",
    )
    parser.add_argument("--version", action="version", version=version("dcs-tok"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    model = model_arguments()

    compression.add_parsers(commands, model)

    command = commands.add_parser("encode", parents=[model], help=encode.__doc__)
    command.add_argument("input", type=Path, help="picture, or clip (needs PyAV)")
    command.add_argument("output", type=Path, help="latent file to write")
    command.add_argument("--levels", type=int, metavar="N", help="levels (default: all)")
    allocation_arguments(command)
    command.add_argument(
        "--patches",
        type=int,
        metavar="K",
        help="patches along the short side (default: the model's)",
    )
    frames_argument(command)
    command.set_defaults(run=encode)

    command = commands.add_parser("decode", parents=[model], help=decode.__doc__)
    command.add_argument("input", type=Path, help="latent file")
    command.add_argument("output", type=Path, help="picture or clip to write")
    command.add_argument("--size", type=parse_size, metavar="WxH", help="default: the source's")
    command.add_argument("--fps", metavar="F", help="frame rate (default: the source's)")
    command.add_argument("--levels", type=int, metavar="M", help="use at most so many levels")
    command.set_defaults(run=decode)

    command = commands.add_parser("info", help=info.__doc__)
    command.add_argument("input", help="latent file, model folder or bundled name")
    command.set_defaults(run=info)

    command = commands.add_parser("demo", parents=[model], help=demo.__doc__.splitlines()[0])
    command.add_argument("photo", nargs="?", type=Path, help="a picture (default: the bundled one)")
    command.add_argument(
        "--output", type=Path, default=Path("demo-output"), help="folder (default: %(default)s)"
    )
    command.set_defaults(run=_demo)

    command = commands.add_parser("train", help=training.run.__doc__)
    training.add_arguments(command)
    command.set_defaults(run=training.run)

    command = commands.add_parser("fit-context", help=context_task.run.__doc__)
    context_task.add_arguments(command)
    command.set_defaults(run=context_task.run)

    command = commands.add_parser("pack", help=packing.run.__doc__)
    packing.add_arguments(command)
    command.set_defaults(run=packing.run)

    command = commands.add_parser("fit-linear", help=klt.run.__doc__)
    klt.add_arguments(command)
    command.set_defaults(run=_fit_linear)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 2 for what the caller got wrong."""
    args = build_parser().parse_args(arguments)
    return run_command(
        "dcs-tok",
        lambda: args.run(args),
        if_too_large="Ask for a smaller size or rate, or for fewer frames.",
        if_interrupted="; nothing was written",
    )


if __name__ == "__main__":
    sys.exit(main())
