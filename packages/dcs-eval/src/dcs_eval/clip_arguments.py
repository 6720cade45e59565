"""Clips of ``dcs-eval reconstruction``: at which rate, how long, and read from which files."""

import argparse
from collections.abc import Iterator, Mapping
from fractions import Fraction

import torch
from torch import Tensor

from dcs_common.geometry import exact_rate
from dcs_eval.clip_files import ClipFiles
from dcs_eval.command_arguments import positive
from dcs_eval.labelled_files import LabelledFile, LabelledFiles
from dcs_eval.progress import bar
from dcs_eval.protocols.clip_rule import ClipRule

_FRAMES = 16  # as the protocols of clips take


def add_clip_arguments(command: argparse.ArgumentParser) -> None:
    """Add ``--fps``, ``--frames`` and ``--rates``."""
    command.add_argument(
        "--fps",
        type=frame_rate,
        metavar="F",
        help="the data are clips, brought to F frames per second: the nearest frame in time",
    )
    command.add_argument(
        "--frames",
        type=positive,
        metavar="N",
        help=f"of a clip, from the middle of its file (default: {_FRAMES})",
    )
    command.add_argument(
        "--rates",
        nargs="+",
        type=frame_rate,
        default=[],
        metavar="G",
        help="other frame rates to decode clips at, and to compare with the decode at F",
    )


def frame_rate(text: str) -> Fraction:
    """Read frames per second, such as 24, 29.97 or 30000/1001."""
    try:
        return exact_rate(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number above 0 or a fraction such as 30000/1001, but is {text!r}"
        ) from None


def read_clip_rule(args: argparse.Namespace) -> ClipRule | None:
    """Return how clips are taken from files; None where the data are pictures.

    Raises:
        ValueError: if there are options of clips without a rate.
    """
    if args.fps is None:
        if args.frames is not None or args.rates:
            option = "--rates" if args.rates else "--frames"
            raise ValueError(
                f"`{option}` is of clips, but there is no `--fps`. Give the frames per second that "
                "clips are brought to."
            )
        return None
    return ClipRule(frames=args.frames or _FRAMES, fps=args.fps)


def read_clips(
    files: Mapping[str, LabelledFile], rule: ClipRule, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    """Yield names and pixels (1, 3, T, H, W) in [0, 1], one clip after another."""
    clips = ClipFiles(LabelledFiles(tuple(files.values())), rule)
    for name, pixels in zip(files, clips, strict=True):
        yield name, pixels.to(device)


def check_clips(files: Mapping[str, LabelledFile], rule: ClipRule) -> None:
    """Read every clip once, so that a bad one stops a long run at its start.

    Raises:
        ValueError: if one cannot be read, or is too short.
    """
    with bar("checking", len(files)) as progress:
        for _ in ClipFiles(LabelledFiles(tuple(files.values())), rule):
            progress(1)
