"""What the commands of ``dcs-eval`` have in common: pictures, metrics, a device, a folder."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from dcs_common.machine import check_device, check_seed
from dcs_eval.lpips_distance import LPIPS
from dcs_eval.metrics import METRICS, Comparison, ssim
from dcs_eval.pictures import read_picture
from dcs_eval.protocols.feature_folders import Share
from dcs_eval.protocols.protocol import Protocol


def add_common_arguments(
    command: argparse.ArgumentParser,
    output: str,
    *,
    data: str = "pictures, or folders of pictures",
    required: bool = True,
) -> None:
    """Add the options of commands that compare pictures with their originals.

    Args:
        command: gets them.
        output: the default folder.
        data: the help of ``--data``.
        required: whether there must be data.
    """
    command.add_argument(
        "--data", nargs="+", type=Path, required=required, metavar="PATH", help=data
    )
    command.add_argument(
        "--pictures", type=positive, metavar="N", help="take N of them, evenly spread (all)"
    )
    add_output_argument(command, output)
    command.add_argument(
        "--metrics",
        nargs="+",
        choices=METRICS,
        default=["psnr", "ssim"],
        metavar="METRIC",
        help=f"of {', '.join(METRICS)}; psnr always is measured (default: psnr ssim)",
    )
    command.add_argument(
        "--lpips-trunk",
        type=Path,
        metavar="FILE",
        help="torchvision's squeezenet1_1 for LPIPS (default: torch.hub's cache); implies lpips",
    )
    command.add_argument(
        "--lpips-heads",
        type=Path,
        metavar="FILE",
        help="LPIPS' heads for it (default: those in lpips' wheel); implies lpips",
    )
    add_machine_arguments(command)


def add_real_pictures(command: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options of commands that compare samples with real pictures.

    Args:
        command: gets them.
        required: whether there must be a reference.
    """
    command.add_argument(
        "--reference",
        nargs="+",
        type=Path,
        required=required,
        metavar="PATH",
        help="folders or zips of real pictures that the generator was not trained on",
    )
    command.add_argument(
        "--train",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="those that it was trained on: adds the probe, nearest pictures and the floor",
    )
    command.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="columns name and class, for real pictures that are not in folders by class",
    )
    command.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="torchvision's squeezenet1_1, or a protocol's network (default: torch.hub's cache)",
    )


def add_output_argument(command: argparse.ArgumentParser, output: str) -> None:
    """Add ``--output``."""
    command.add_argument(
        "--output",
        type=Path,
        default=Path(output),
        metavar="FOLDER",
        help="made if it is not there (default: %(default)s)",
    )


def add_machine_arguments(command: argparse.ArgumentParser) -> None:
    """Add ``--device`` and ``--seed``."""
    command.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def add_job_arguments(command: argparse.ArgumentParser) -> None:
    """Add ``--jobs`` and ``--job``."""
    command.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="how many share a protocol's features; the last measures (default: 1)",
    )
    command.add_argument(
        "--job", type=int, default=0, metavar="I", help="which of them this is, from 0 (default: 0)"
    )


def read_share(args: argparse.Namespace, protocol: Protocol | None, *, extracts: bool) -> Share:
    """Return this job's share of taking features.

    Args:
        args: with ``jobs`` and ``job``.
        protocol: None if there is none.
        extracts: whether it keeps features in files.

    Raises:
        ValueError: if there is no such job, or nothing to share.
    """
    share = Share(jobs=args.jobs, job=args.job)
    if share.jobs > 1 and not extracts:
        found = "there is no `--protocol`" if protocol is None else f"{protocol.name} keeps none"
        raise ValueError(
            f"`--jobs` shares features that a protocol keeps in files, but {found}. Leave it out."
        )
    return share


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, but is {text!r}")


def positive_real(text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"must be a number above 0, but is {text!r}")


def prepare(args: argparse.Namespace) -> torch.device:
    """Seed, check device and output folder before anything is measured; return the device.

    Raises:
        ValueError: if one of them is not usable.
    """
    torch.manual_seed(check_seed(args.seed))
    if args.output.exists() and not args.output.is_dir():
        raise ValueError(f"`--output` must be a folder, but {args.output} is a file. Name another.")
    return check_device(args.device)


def comparisons(args: argparse.Namespace, device: torch.device) -> dict[str, Comparison]:
    """Return the metrics asked for beside PSNR, as keyword arguments of an evaluation.

    Raises:
        ValueError: if one needs what is not installed, or its weights are not usable.
    """
    found: dict[str, Comparison] = {}
    if "ssim" in args.metrics:
        found["ssim"] = ssim
    if "lpips" in args.metrics or args.lpips_trunk or args.lpips_heads:
        found["lpips"] = LPIPS(args.lpips_trunk, args.lpips_heads, device)
    return found


def read_pictures(paths: Mapping[str, Path], device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Yield names and pixels (1, 3, H, W) in [0, 1], one after another."""
    for name, path in paths.items():
        yield name, read_picture(path).to(device)


def check_pictures(paths: Mapping[str, Path]) -> None:
    """Read every picture once, so that a bad one stops a long run at its start.

    Raises:
        ValueError: if one cannot be used.
    """
    for path in paths.values():
        read_picture(path)
