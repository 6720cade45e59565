"""What the command line says about an experiment itself, whatever it runs on."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a preset builds its stages from.

    Attributes:
        preset: "tiny" or "paper".
        data, held_out: paths of training data and of what is never trained on; empty for the
            photos that ship with scikit-image, where the preset is tiny.
        labels: a table of classes, and of captions where they are needed.
        seeds: how many repetitions.
        device: torch device of all stages.
        feature_weights, lpips_trunk, lpips_heads: files of networks that measure.
    """

    preset: str = "tiny"
    data: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    labels: str | None = None
    seeds: int = 1
    device: str = "cpu"
    feature_weights: str | None = None
    lpips_trunk: str | None = None
    lpips_heads: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what :meth:`to_json` returned."""
        tuples = {name: tuple(values[name]) for name in ("data", "held_out")}
        return cls(**values | tuples)


def add_options(parser: argparse.ArgumentParser, presets: tuple[str, ...]) -> None:
    """Add the arguments that :func:`options_of` reads."""
    group = parser.add_argument_group("the experiment")
    group.add_argument(
        "--preset", choices=presets, default=presets[0], help="(default: %(default)s)"
    )
    group.add_argument(
        "--data", nargs="+", default=[], metavar="PATH", help="to train on; tiny has photos"
    )
    group.add_argument(
        "--held-out", nargs="+", default=[], metavar="PATH", help="to measure on, never trained on"
    )
    group.add_argument("--labels", metavar="CSV", help="classes, and captions, of pictures")
    group.add_argument("--seeds", type=int, metavar="N", help="repetitions (default: the preset's)")
    group.add_argument("--device", help="torch device (default: cuda in jobs with GPUs, else cpu)")
    group.add_argument("--feature-weights", metavar="FILE", help="of SqueezeNet or Inception")
    group.add_argument("--lpips-trunk", metavar="FILE", help="of the perceptual distance")
    group.add_argument("--lpips-heads", metavar="FILE", help="likewise")
    group.add_argument(
        "--run-folder", type=Path, metavar="FOLDER", help="default: runs/NAME-PRESET"
    )


def options_of(args: argparse.Namespace, default_seeds: int, *, has_gpus: bool) -> Options:
    """Return what the command line said.

    Args:
        args: parsed.
        default_seeds: the preset's.
        has_gpus: whether its stages ask for GPUs.

    Raises:
        ValueError: if a named file is missing or there are no seeds.
    """
    seeds = default_seeds if args.seeds is None else args.seeds
    if seeds < 1:
        raise ValueError(f"`--seeds` must be at least 1, but is {seeds}.")
    for name in ("data", "held_out"):
        for path in getattr(args, name):
            _check(name, path)
    for name in ("labels", "feature_weights", "lpips_trunk", "lpips_heads"):
        path = getattr(args, name)
        if path is not None:
            _check(name, path)
    return Options(
        preset=args.preset,
        data=tuple(_absolute(path) for path in args.data),
        held_out=tuple(_absolute(path) for path in args.held_out),
        labels=_absolute(args.labels),
        seeds=seeds,
        device=args.device or ("cuda" if has_gpus else "cpu"),
        feature_weights=_absolute(args.feature_weights),
        lpips_trunk=_absolute(args.lpips_trunk),
        lpips_heads=_absolute(args.lpips_heads),
    )


def _check(name: str, path: str) -> None:
    # WebDataset shards may be patterns or addresses that only their reader understands.
    if not Path(path).exists() and "{" not in path and "::" not in path:
        option = f"--{name.replace('_', '-')}"
        raise ValueError(
            f"`{option}` must name files and folders that exist, but {path} does not. Give paths "
            "that every node of the cluster sees."
        )


def _absolute(path: str | None) -> str:
    """Make a path hold in jobs, which start elsewhere."""
    if path is None:
        return None  # type: ignore[return-value]
    return str(Path(path).absolute()) if Path(path).exists() else path
