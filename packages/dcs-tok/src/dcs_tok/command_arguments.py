"""Arguments that several commands share, and what they stand for."""

import argparse
import re
from pathlib import Path

import torch

from dcs_common.atomic_file import check_folder_of
from dcs_common.machine import check_device, check_seed
from dcs_tok.allocation import METHODS
from dcs_tok.tokenizer import DCSTok

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


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


def load_model(args: argparse.Namespace, default: str | None = None) -> DCSTok:
    """Return the model that the arguments of :func:`model_arguments` name, on its device.

    Args:
        args: the arguments.
        default: the model where none is named.

    Raises:
        ValueError: if seed, device or model cannot be used.
    """
    torch.manual_seed(check_seed(args.seed))
    device = check_device(args.device)
    tok = DCSTok.from_pretrained(args.model or default).to(device)
    tok.max_memory = args.max_memory
    return tok


def check_output_file(path: Path) -> Path:
    """Return the path of a file to be written.

    Raises:
        ValueError: if its folder is missing, or it is a folder itself.
    """
    check_folder_of(path)
    if path.is_dir():
        raise ValueError(f"The output must be a file, but {path} is a folder. Name a file in it.")
    return path


def model_arguments() -> argparse.ArgumentParser:
    """Return the arguments that choose a model and where it runs, as a parent parser."""
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument(
        "--model",
        metavar="MODEL",
        help="bundled name, folder or hub id (default: dcs-tok-nano, or what suits .dcs files)",
    )
    model.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    model.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    model.add_argument(
        "--max-memory",
        type=parse_bytes,
        metavar="BYTES",
        help="working memory beside pictures and weights (default: 512M, on a GPU a sixteenth of "
        "its memory)",
    )
    return model


def frames_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--frames``."""
    parser.add_argument(
        "--frames",
        type=parse_frames,
        default=(0, None),
        metavar="FIRST:STOP",
        help="frames of a clip (default: all)",
    )


def allocation_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--average-levels`` and ``--allocation``."""
    parser.add_argument(
        "--average-levels",
        type=float,
        metavar="X",
        help="levels where they gain most, X on average and at most N",
    )
    parser.add_argument(
        "--allocation",
        choices=METHODS,
        default="predicted",
        help="how --average-levels decides (default: %(default)s)",
    )
