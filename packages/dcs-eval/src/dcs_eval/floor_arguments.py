"""``--floor``: real pictures through tokenizers alone, beside what generators make."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor

from dcs_eval.command_arguments import positive
from dcs_eval.labelled_files import LabelledFiles, find_labelled
from dcs_eval.pictures import spread
from dcs_eval.progress import check_files, shown
from dcs_eval.protocols.protocol import Protocol
from dcs_eval.reconstruction import levels_in_common
from dcs_eval.tokenizer_arguments import load_spec, spec_titles, tokenizer_help
from dcs_eval.tokenizer_floor import TokenizedPictures

_DEPENDENT = ("floor_data", "floor_levels", "floor_patches", "floor_pictures")


def add_floor_arguments(command: argparse.ArgumentParser) -> None:
    """Add ``--floor`` and what belongs to it."""
    command.add_argument(
        "--floor",
        nargs="+",
        default=[],
        metavar="NAME[=MODEL]",
        help="tokenizers: adds the distance of real pictures that only went through them; "
        + tokenizer_help(),
    )
    command.add_argument(
        "--floor-data",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="folders or zips of these pictures (default: those of --reference)",
    )
    command.add_argument(
        "--floor-levels",
        nargs="+",
        type=positive,
        metavar="M",
        help="level counts to decode (default: those of the samples)",
    )
    command.add_argument(
        "--floor-patches",
        nargs="+",
        type=positive,
        metavar="K",
        help="patches along the short side: one number, or one for each tokenizer (default: the "
        "tokenizer's own)",
    )
    command.add_argument(
        "--floor-pictures",
        type=positive,
        metavar="N",
        help="how many, evenly spread (default: as many as samples, as distances depend on it)",
    )


def check_floor_request(args: argparse.Namespace, protocol: Protocol | None = None) -> None:
    """Refuse options that would do nothing, before anything is read.

    Raises:
        ValueError: if there is no ``--floor`` for them, or nothing to compare in.
    """
    given = [f"--{name.replace('_', '-')}" for name in _DEPENDENT if getattr(args, name)]
    if given and not args.floor:
        raise ValueError(
            f"`{given[0]}` is of the tokenizers of `--floor`, but there is no `--floor`. Name "
            "tokenizers, or leave it out."
        )
    if args.floor and protocol is not None and protocol.reference == "adm-statistics":
        raise ValueError(
            "`--floor` compares with pictures, but the reference of "
            f"{protocol.name} is a file of statistics. Leave it out, or decode real pictures into "
            "folders level-1, level-2, ... and give these as samples."
        )
    if args.floor and protocol is not None and protocol.media == "clip":
        raise ValueError(
            f"`--floor` is of pictures, but {protocol.name} is of clips. Leave it out."
        )
    patches = len(args.floor_patches or ())
    if patches > 1 and patches != len(args.floor):
        raise ValueError(
            "`--floor-patches` must be one number or one for each tokenizer, but there are "
            f"{patches} for {len(args.floor)}. Give as many, or one."
        )


def read_floors(
    args: argparse.Namespace,
    reference: LabelledFiles,
    *,
    levels: Sequence[int],
    samples: int,
    device: torch.device,
) -> dict[str, TokenizedPictures]:
    """Return what goes through which tokenizer, by the names that tables give them.

    Args:
        args: with the options of :func:`add_floor_arguments`.
        reference: the pictures that samples are compared with.
        levels: of the samples.
        samples: at each level.
        device: where tokenizers compute.

    Raises:
        ValueError: if a tokenizer does not load or comes twice, or a picture cannot be read.
    """
    if not args.floor:
        return {}
    files, source = reference, "the reference"
    if args.floor_data:
        files = find_labelled(args.floor_data, what="the pictures of `--floor-data`")
        source = ", ".join(map(str, args.floor_data))
    files = LabelledFiles(spread(files.files, args.floor_pictures or samples))
    if args.floor_data:
        check_files([files])
    every = args.floor_patches or [None]
    patches = list(every if len(every) > 1 else repeat(every[0], len(args.floor)))
    pairs = list(zip(args.floor, patches, strict=True))
    if len(set(pairs)) < len(pairs):
        twice = next(spec for spec, k in pairs if pairs.count((spec, k)) > 1)
        raise ValueError(f"Each tokenizer must come once, but {twice} came twice. Leave one.")
    found = {}
    for (spec, k), title in zip(pairs, spec_titles(args.floor), strict=True):
        tokenizer = load_spec(spec, device)
        counts = levels_in_common(args.floor_levels or levels, tokenizer.config.num_levels)
        name = title if k is None else f"{title} at {k} patches"
        found[name] = TokenizedPictures(
            tokenizer=tokenizer,
            pictures=_on(device, files, f"through {name}"),
            source=source,
            levels=counts,
            patches=k,
        )
    return found


def _on(device: torch.device, files: LabelledFiles, what: str) -> Iterator[Tensor]:
    return (pixels.to(device) for pixels in shown(files, what))
