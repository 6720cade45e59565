"""``dcs-dit cache``: pictures or clips to a cache of latents."""

import argparse
import re
from pathlib import Path

import torch

from dcs_common.entry_points import find_tokenizer
from dcs_common.machine import check_device, check_seed
from dcs_dit.data.cache_config import CacheConfig
from dcs_dit.data.cache_plan import DTYPES
from dcs_dit.data.caching import CacheResult, LatentCaching
from dcs_dit.data.labelled_pictures import find_labelled_pictures
from dcs_dit.data.picture_files import Media

TOKENIZER = "dcs-tok"
MODEL = "dcs-tok-nano-gen"


def parse_size(text: str) -> tuple[int, int]:
    """Read ``N`` or ``WxH`` as (height, width)."""
    match = re.fullmatch("([0-9]{1,5})(?:[xX]([0-9]{1,5}))?", text)
    if match:
        width, height = int(match[1]), int(match[2] or match[1])
        if min(width, height) > 0:
            return height, width
    raise argparse.ArgumentTypeError(f"must be pixels such as 128 or 192x128, but is {text!r}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command ``dcs-dit cache``."""
    defaults = CacheConfig()
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="folders or zips of pictures, with --fps of clips; one sub-folder per class or none",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="cache to make or continue"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="table with columns name and class, and perhaps caption and label (an integer)",
    )
    parser.add_argument(
        "--tokenizer",
        default=TOKENIZER,
        metavar="NAME",
        help="one that an installed package offers (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"the tokenizer's: bundled name, folder or hub id (default: {MODEL} of {TOKENIZER})",
    )
    parser.add_argument(
        "--size",
        type=parse_size,
        default=defaults.size,
        metavar="SIZE",
        help="N or WxH pixels, which pictures are scaled and cropped to (default: 128)",
    )
    parser.add_argument(
        "--fps", type=int, metavar="N", help="of clips, in place of pictures; needs dcs-dit[video]"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=defaults.seconds,
        metavar="S",
        help="of a clip (default: 2/3, 16 frames at 24 fps)",
    )
    parser.add_argument(
        "--clips-per-file",
        type=int,
        default=defaults.clips_per_file,
        metavar="N",
        help="spread over each video (default: %(default)s, its centre)",
    )
    parser.add_argument(
        "--patches", type=int, metavar="K", help="along the short side (default: the model's)"
    )
    parser.add_argument("--levels", type=int, metavar="N", help="levels (default: all)")
    parser.add_argument("--flip", action="store_true", help="add a mirrored copy of every sample")
    parser.add_argument(
        "--samples-per-shard",
        type=int,
        default=defaults.samples_per_shard,
        metavar="N",
        help="mirrored copies counted (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=defaults.batch_size,
        metavar="N",
        help="samples encoded at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype",
        choices=tuple(DTYPES),
        default=defaults.dtype,
        help="of the stored latents (default: %(default)s)",
    )
    parser.add_argument(
        "--max-corrupt",
        type=float,
        default=defaults.max_corrupt,
        metavar="SHARE",
        help="of files that may be unreadable (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="how many share the work (default: 1)"
    )
    parser.add_argument(
        "--job", type=int, default=0, metavar="I", help="which of them this is, from 0 (default: 0)"
    )
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def run(args: argparse.Namespace) -> str:
    """Pictures or clips to a cache of latents, to train from."""
    config = CacheConfig(
        size=args.size,
        patches=args.patches,
        levels=args.levels,
        flips=args.flip,
        samples_per_shard=args.samples_per_shard,
        batch_size=args.batch_size,
        dtype=args.dtype,
        max_corrupt=args.max_corrupt,
        seed=check_seed(args.seed),
        fps=args.fps,
        seconds=args.seconds,
        clips_per_file=args.clips_per_file,
    )
    torch.manual_seed(args.seed)
    device = check_device(args.device)
    media: Media = "picture" if args.fps is None else "clip"
    pictures = find_labelled_pictures(args.sources, args.labels, media=media)
    model = args.model or (MODEL if args.tokenizer == TOKENIZER else None)
    tokenizer = find_tokenizer(args.tokenizer, model)
    caching = LatentCaching(
        pictures, tokenizer, config, name=args.tokenizer, model=model, device=device
    )
    return _say(args.output, caching.run(args.output, jobs=args.jobs, job=args.job))


def _say(folder: Path, result: CacheResult) -> str:
    plan = result.plan
    t, h, w = plan.grid
    media = "pictures" if plan.fps is None else "clips"
    skipped = f", {len(result.skipped)} unreadable {media} skipped" if result.skipped else ""
    clips = "" if plan.fps is None else f"of {plan.frames} frames at {plan.fps} fps, "
    missing = (
        f"; {result.missing} of {plan.num_shards} shards are still missing"
        if result.missing
        else ""
    )
    return (
        f"wrote {folder}: {result.written} shards ({result.kept} kept) of {plan.samples} samples, "
        f"{clips}{t} x {h} x {w} patches, {plan.levels} levels of {plan.channels} channels, "
        f"{len(plan.label_names)} classes{skipped}{missing}"
    )
