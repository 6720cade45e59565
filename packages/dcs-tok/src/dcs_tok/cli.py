"""The ``dcs-tok`` command."""

import argparse
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from dcs_common.atomic_file import check_folder_of
from dcs_common.latents import Latents
from dcs_common.pretrained import CONFIG_FILE
from dcs_tok import clips, demo, klt, pictures
from dcs_tok.allocation import METHODS, allocate_levels
from dcs_tok.data import packing
from dcs_tok.progress import show_progress
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training import command as training
from dcs_tok.training import context_task

# PyTorch has an exception of its own for it on GPUs alone.
_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def parse_size(text: str) -> tuple[int, int]:
    """Read ``WxH`` as (height, width)."""
    match = re.fullmatch("([0-9]{1,6})[xX]([0-9]{1,6})", text)
    if match and all(int(side) > 0 for side in match.groups()):
        return int(match[2]), int(match[1])
    raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT such as 1280x720, but is {text!r}")


def parse_bytes(text: str) -> int:
    """Read a number of bytes with an optional unit: 800M, 2GiB, 1000000."""
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = _UNITS.get(number[-1:], 1)
    digits = number[:-1] if unit > 1 else number
    try:
        value = int(float(digits) * unit)
    except (ValueError, OverflowError):
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be bytes such as 800M or 2GiB, but is {text!r}")
    return value


def parse_frames(text: str) -> tuple[int, int | None]:
    """Read a range of frames ``FIRST:STOP``; either may be left out."""
    match = re.fullmatch("([0-9]{0,9}):([0-9]{0,9})", text)
    if match:
        return int(match[1] or 0), int(match[2]) if match[2] else None
    raise argparse.ArgumentTypeError(f"must be FIRST:STOP such as 0:48, but is {text!r}")


def _load_model(args: argparse.Namespace) -> DCSTok:
    if not -(2**63) <= args.seed < 2**64:
        raise ValueError(f"`--seed` must fit into 64 bits, but is {args.seed}. Choose another.")
    torch.manual_seed(args.seed)
    try:
        device = torch.device(args.device)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"`--device` must name a device of this machine, but is {args.device!r} "
            f"({str(error).splitlines()[0]}). Use cpu."
        ) from None
    tok = DCSTok.from_pretrained(args.model).to(device)
    tok.max_memory = args.max_memory
    return tok


def _check_folder(path: Path) -> Path:
    check_folder_of(path)
    if path.is_dir():
        raise ValueError(f"The output must be a file, but {path} is a folder. Name a file in it.")
    return path


def encode(args: argparse.Namespace) -> str:
    """Picture or clip to a latent file."""
    out = _check_folder(args.output)
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
    tok = _load_model(args)
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
    out = check(_check_folder(args.output))
    tok = _load_model(args)
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
    """Describe a latent file or a model folder."""
    path = Path(args.input)
    if path.is_dir() or (args.input in DCSTok.bundled) or path.name == CONFIG_FILE:
        tok = DCSTok.from_pretrained(path.parent if path.name == CONFIG_FILE else args.input)
        count = sum(parameter.numel() for parameter in tok.parameters())
        return (
            f"{args.input}: DCS-Tok, {count / 1e6:.2f} M parameters, {tok.config.num_levels} "
            f"levels of {tok.config.latent_channels} channels, k = "
            f"{tok.config.patches_short_side}, fingerprint {tok.fingerprint}"
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
    _check_folder(args.output)
    return klt.run(args)


def _demo(args: argparse.Namespace) -> str:
    return demo.run(args.photo, args.output, _load_model(args))


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="dcs-tok",
        description="Pictures and clips of any scale as hierarchical latents of fixed size.",
    )
    parser.add_argument("--version", action="version", version=version("dcs-tok"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument(
        "--model", metavar="MODEL", help="bundled name, folder or hub id (default: dcs-tok-nano)"
    )
    model.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    model.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    model.add_argument(
        "--max-memory",
        type=parse_bytes,
        default=parse_bytes("512M"),
        metavar="BYTES",
        help="working memory beside pictures and weights (default: %(default)s)",
    )

    command = commands.add_parser("encode", parents=[model], help=encode.__doc__)
    command.add_argument("input", type=Path, help="picture, or clip (needs PyAV)")
    command.add_argument("output", type=Path, help="latent file to write")
    command.add_argument("--levels", type=int, metavar="N", help="levels (default: all)")
    command.add_argument(
        "--average-levels",
        type=float,
        metavar="X",
        help="levels where they gain most, X on average and at most N",
    )
    command.add_argument(
        "--allocation",
        choices=METHODS,
        default="predicted",
        help="how --average-levels decides (default: %(default)s)",
    )
    command.add_argument(
        "--patches", type=int, metavar="K", help="patches along the short side (default: 16)"
    )
    command.add_argument(
        "--frames",
        type=parse_frames,
        default=(0, None),
        metavar="FIRST:STOP",
        help="frames of a clip (default: all)",
    )
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
    try:
        said = args.run(args)
        if said:
            print(said)
    except (ValueError, OSError) as error:
        print(f"dcs-tok: error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))):
            raise
        print(
            "dcs-tok: error: The result must fit into memory, but does not "
            f"({str(error).splitlines()[0] if str(error) else 'out of memory'}). "
            "Ask for a smaller size or rate, or for fewer frames.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("dcs-tok: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
