"""``dcs-dit sample``."""

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dcs_common.atomic_file import check_folder_of
from dcs_common.command_line import parse_size
from dcs_common.entry_points import find_tokenizer
from dcs_common.latents import Latents
from dcs_common.machine import check_device, check_seed
from dcs_common.protocols import ImageTokenizer
from dcs_dit.model import DCSDiT
from dcs_dit.sampling.checks import check_labels
from dcs_dit.sampling.memory import KINDS
from dcs_dit.sampling.noise import sample_seeds
from dcs_dit.sampling.pictures import import_pillow
from dcs_dit.sampling.progressive import sample_progressive
from dcs_dit.sampling.sample import sample
from dcs_dit.sampling.sample_files import SampleFiles
from dcs_dit.sampling.settings import SamplingSettings
from dcs_dit.sampling.state import GenerationState
from dcs_dit.text import TextEncoder

_DEFAULTS = SamplingSettings()
# What a state holds, and `--continue` cannot change.
_REQUEST = (
    *("label", "text", "text_encoder", "count", "first", "grid", "segments", "steps"),
    *("guidance_scale", "guidance_interval", "guidance_channels", "time_shift", "seed"),
)


def parse_interval(text: str) -> tuple[float, float]:
    """Read ``START:STOP``, of which either may be left out."""
    start, colon, stop = text.partition(":")
    try:
        if colon:
            return float(start or 0), float(stop or 1)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be START:STOP such as 0.1:1, but is {text!r}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    what = parser.add_argument_group("what to generate")
    what.add_argument(
        "--label", nargs="+", default=[], metavar="NAME", help="classes by name or number, or `all`"
    )
    what.add_argument("--text", nargs="+", default=[], metavar="TEXT", help="needs dcs-dit[text]")
    what.add_argument("--text-encoder", metavar="ENCODER", help="folder or hub id, for --text")
    what.add_argument(
        "--count", type=int, default=1, metavar="N", help="of each label or text (default: 1)"
    )
    what.add_argument(
        "--first", type=int, default=0, metavar="I", help="number of the first (default: 0)"
    )
    what.add_argument(
        "--grid",
        type=partial(parse_size, example="16x32"),
        metavar="WxH",
        help="patches across and down",
    )
    what.add_argument("--segments", type=int, metavar="T", help="of a clip")
    what.add_argument("--levels", type=int, metavar="M", help="default: all")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--progressive", action="store_true", help="coarse to fine, each level written when it is"
    )
    how.add_argument("--cache", choices=KINDS, default="device", help="(default: %(default)s)")
    how.add_argument(
        "--steps", type=int, default=_DEFAULTS.steps, metavar="N", help="(default: 50)"
    )
    how.add_argument("--guidance-scale", type=float, metavar="S", help="default: the model's")
    how.add_argument(
        "--guidance-interval",
        type=parse_interval,
        default=_DEFAULTS.guidance_interval,
        metavar="START:STOP",
        help="times at which guidance is on (default: 0.1:1)",
    )
    how.add_argument("--guidance-channels", type=int, metavar="N", help="default: all")
    how.add_argument(
        "--time-shift", type=float, default=_DEFAULTS.time_shift, metavar="S", help="(default: 1)"
    )
    how.add_argument("--batch-size", type=int, default=8, metavar="N", help="(default: 8)")
    how.add_argument(
        "--state", type=Path, metavar="FILE", help="keep what it takes to go on with more levels"
    )
    how.add_argument(
        "--continue", dest="resume", type=Path, metavar="FILE", help="go on from a state"
    )
    how.add_argument("--model", metavar="MODEL", help="bundled name, folder or hub id")
    how.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of the model"
    )
    how.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    how.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    out = parser.add_argument_group("what to write")
    out.add_argument("--output", type=Path, default=Path("samples"), metavar="FOLDER")
    out.add_argument(
        "--size",
        type=partial(parse_size, example="16x32"),
        metavar="WxH",
        help="default: the trained scale",
    )
    out.add_argument(
        "--tokenizer", metavar="MODEL", help="that decodes (default: the one it was trained on)"
    )
    out.add_argument(
        "--latents", action="store_true", help="write latents in place of pictures; needs no extra"
    )


@dataclass(frozen=True, slots=True)
class _Item:
    """One sample to come: its condition, where it goes, its seed."""

    condition: int | str | None
    name: str
    seed: int


def run(args: argparse.Namespace) -> str:
    """Generate pictures or clips as latents, and decode them."""
    check_seed(args.seed)
    device = check_device(args.device)
    _check_outputs(args)
    dit = DCSDiT.from_pretrained(args.model).to(device)
    if args.precision == "bfloat16":
        dit.to(torch.bfloat16)
    encoder = _text_encoder(args)
    state = None if args.resume is None else _resumed(args)
    items = _items(args, dit) if state is None else _items_of_state(state)
    size = args.batch_size if state is None else len(items)
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    if args.state is not None and len(batches) > 1:
        raise ValueError(
            f"`--state` holds one batch, but there are {len(batches)}. Raise `--batch-size` to "
            f"{len(items)}."
        )
    files = SampleFiles(args.output, None if args.latents else _tokenizer(args, dit), args.size)
    start = time.monotonic()
    for batch in batches:
        names = tuple(item.name for item in batch)
        with _bar() as bar:
            for level, latents, reached in _generate(args, dit, batch, state, encoder, bar):
                if reached is not None:
                    seconds = time.monotonic() - start
                    bar.write(f"dcs-dit: level {level} after {seconds:.1f} s", file=sys.stderr)
                    if args.state is not None:
                        replace(reached, names=names).save(args.state)
                files.write(level, latents, names)
    return f"{files.finish()} in {time.monotonic() - start:.1f} s"


def _check_outputs(args: argparse.Namespace) -> None:
    for name in ("count", "batch_size"):
        if getattr(args, name) < 1:
            option = name.replace("_", "-")
            raise ValueError(f"`--{option}` must be at least 1, but is {getattr(args, name)}.")
    if args.first < 0:
        raise ValueError(f"`--first` must be 0 or more, but is {args.first}.")
    if check_folder_of(args.output).is_file():
        raise ValueError(f"`--output` must be a folder, but {args.output} is a file.")
    if args.state is not None and not args.progressive:
        raise ValueError("`--state` is of a run that goes level by level. Add `--progressive`.")
    if args.state is not None and check_folder_of(args.state).is_dir():
        raise ValueError(f"`--state` must be a file, but {args.state} is a folder.")


def _text_encoder(args: argparse.Namespace) -> TextEncoder | None:
    if not args.text:
        return None
    if args.text_encoder is None:
        raise ValueError(
            "`--text` needs `--text-encoder`, the encoder that the model was trained with, but "
            "there is none. Give its folder or hub id."
        )
    from dcs_dit.transformers_text import TransformersTextEncoder

    return TransformersTextEncoder(args.text_encoder, device=args.device)


def _resumed(args: argparse.Namespace) -> GenerationState:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = [
        f"`--{name.replace('_', '-')}`"
        for name in _REQUEST
        if getattr(args, name) != parser.get_default(name)
    ]
    if given or not args.progressive:
        raise ValueError(
            "`--continue` goes on with the request of its state, coarse to fine. "
            + (f"Leave out {', '.join(given)}." if given else "Add `--progressive`.")
        )
    return GenerationState.load(args.resume)


def _items(args: argparse.Namespace, dit: DCSDiT) -> list[_Item]:
    names = dit.config.labels
    conditions: list[tuple[int | str | None, str]]
    if args.label and args.text:
        raise ValueError("Give `--label` or `--text`, but not both: they would have to be paired.")
    if args.text:
        conditions = [(text, _file_name(text)) for text in args.text]
    elif args.label:
        wanted: list[int | str] = [_label(label, names) for label in args.label]
        if names and [label.casefold() for label in args.label] == ["all"]:
            wanted = list(range(len(names)))
        found = check_labels(wanted, dit.config) or ()
        conditions = [(index, _file_name(names[index])) for index in found]
    else:
        conditions = [(None, "unconditional")]
    folders = Counter(name for _, name in conditions)
    twice = [name for name, times in folders.items() if times > 1]
    if twice:
        raise ValueError(
            f"Samples of different conditions must go to different folders, but {twice[0]!r} is "
            "that of several. Name each label or text once, and use `--count`; or run twice."
        )
    return [
        _Item(condition, f"{name}/{args.first + i:05d}", seed)
        for condition, name in conditions
        for i, seed in enumerate(
            sample_seeds(sample_seeds(args.seed, 1, _number(condition))[0], args.count, args.first)
        )
    ]


def _label(text: str, names: Sequence[str]) -> int | str:
    """Return a label's number if it is one; a class may be named by digits, too."""
    return int(text) if text.isdecimal() and text not in names else text


def _number(condition: int | str | None) -> int:
    """Return a number that gives each class a series of its own; texts share one."""
    return condition if isinstance(condition, int) else 0


def _items_of_state(state: GenerationState) -> list[_Item]:
    request = state.request
    names = state.names or tuple(f"sample/{i:05d}" for i in range(request.num_samples))
    labels = request.labels or (None,) * request.num_samples
    return [_Item(*item) for item in zip(labels, names, request.seeds, strict=True)]


def _file_name(text: str) -> str:
    return re.sub(r"[^\w .-]", "_", text)[:60].strip(" .") or "sample"


def _generate(
    args: argparse.Namespace,
    dit: DCSDiT,
    batch: list[_Item],
    state: GenerationState | None,
    encoder: TextEncoder | None,
    bar: Any,
) -> Iterator[tuple[int, Latents, GenerationState | None]]:
    """Yield levels with their latents and, coarse to fine, what it takes to go on."""

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    conditions = [item.condition for item in batch]
    grid = None
    if args.grid is not None or args.segments is not None:
        t, *patches = dit.config.grid
        grid = (args.segments or t, *(args.grid or patches))
    request: dict[str, Any] = {
        "labels": conditions if args.label else None,
        "texts": conditions if args.text else None,
        "text_encoder": encoder,
        "grid": grid,
        "steps": args.steps,
        "guidance_scale": args.guidance_scale,
        "guidance_interval": args.guidance_interval,
        "guidance_channels": args.guidance_channels,
        "time_shift": args.time_shift,
        "seeds": [item.seed for item in batch],
    }
    if not args.progressive:
        latents = sample(dit, levels=args.levels, on_progress=report, **request)
        yield latents.num_levels, latents, None
        return
    steps = sample_progressive(
        dit,
        state=state,
        levels=args.levels,
        cache=args.cache,
        on_progress=report,
        **(request if state is None else {}),
    )
    for step in steps:
        yield step.level, step.latents, step.state


def _tokenizer(args: argparse.Namespace, dit: DCSDiT) -> ImageTokenizer:
    import_pillow()
    model = args.tokenizer or dit.config.tokenizer_model
    try:
        tokenizer = find_tokenizer("dcs-tok", model)
    except ValueError as error:
        raise ValueError(
            f"{error} Decoding needs `dcs-dit[decode]`; `--latents` needs no tokenizer."
        ) from None
    found = getattr(tokenizer, "fingerprint", None)
    if dit.config.tokenizer is not None and found != dit.config.tokenizer:
        raise ValueError(
            "Samples must be decoded by the tokenizer that the generator was trained on, "
            f"{dit.config.tokenizer} ({dit.config.tokenizer_model}), but {model!r} is {found}. "
            "Name it with `--tokenizer`."
        )
    return tokenizer.to(args.device) if isinstance(tokenizer, torch.nn.Module) else tokenizer


def _bar() -> Any:
    return tqdm(desc="sampling", unit=" steps", leave=False, disable=not sys.stderr.isatty())
