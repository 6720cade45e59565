"""``dcs-dit sample``."""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
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
from dcs_dit.sampling.checks import check_guidance
from dcs_dit.sampling.items import Item, items_of, items_of_state
from dcs_dit.sampling.memory import KINDS
from dcs_dit.sampling.msf import RESIDUAL_STEPS, sample_msf
from dcs_dit.sampling.pictures import import_pillow
from dcs_dit.sampling.progressive import sample_progressive
from dcs_dit.sampling.sample import sample
from dcs_dit.sampling.sample_files import SampleFiles
from dcs_dit.sampling.settings import SamplingSettings
from dcs_dit.sampling.state import GenerationState
from dcs_dit.sampling.timing import SamplingTimes, write_record
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
        "--residual", metavar="MODEL", help="second stage of MSF, on top of the base `--model`"
    )
    how.add_argument(
        "--residual-steps", type=int, metavar="N", help=f"of --residual (default: {RESIDUAL_STEPS})"
    )
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


def run(args: argparse.Namespace) -> str:
    """Generate pictures or clips as latents, and decode them."""
    check_seed(args.seed)
    device = check_device(args.device)
    _check_outputs(args)
    dit = _model(args.model, args, device)
    residual = None if args.residual is None else _model(args.residual, args, device)
    encoder = _text_encoder(args)
    state = None if args.resume is None else _resumed(args)
    items = items_of(args, dit) if state is None else items_of_state(state)
    size = args.batch_size if state is None else len(items)
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    if args.state is not None and len(batches) > 1:
        raise ValueError(
            f"`--state` holds one batch, but there are {len(batches)}. Raise `--batch-size` to "
            f"{len(items)}."
        )
    files = SampleFiles(args.output, None if args.latents else _tokenizer(args, dit), args.size)
    start, times, levels = time.monotonic(), SamplingTimes(device), set()
    for batch in batches:
        names = tuple(item.name for item in batch)
        with _bar() as bar:
            stages = _generate(args, dit, residual, batch, state, encoder, bar)
            for level, latents, reached in times.over(stages):
                levels.add(level)
                if args.progressive:
                    seconds = time.monotonic() - start
                    bar.write(f"dcs-dit: level {level} after {seconds:.1f} s", file=sys.stderr)
                if reached is not None and args.state is not None:
                    replace(reached, names=names).save(args.state)
                files.write(level, latents, names)
    said = files.finish()
    models = {args.model or next(iter(DCSDiT.bundled)): dit}
    if residual is not None:
        models[args.residual] = residual
    scales = [_guidance(args, model, state) for model in models.values()]
    write_record(
        args.output,
        times,
        samples=len(items),
        steps=_steps(args, state, len(levels)),
        batch_size=min(size, len(items)),
        precision=args.precision,
        models={name: model.fingerprint for name, model in models.items()},
        guidance_scale=scales[0] if len(set(scales)) == 1 else scales,
        seed=args.seed if state is None else None,
    )
    return f"{said} in {time.monotonic() - start:.1f} s"


def _model(name: str | None, args: argparse.Namespace, device: torch.device) -> DCSDiT:
    dit = DCSDiT.from_pretrained(name).to(device)
    return dit.to(torch.bfloat16) if args.precision == "bfloat16" else dit


def _guidance(args: argparse.Namespace, dit: DCSDiT, state: GenerationState | None) -> float:
    """Return the scale that a model was sampled with."""
    if state is not None:
        return state.request.settings.guidance_scale
    is_conditional = bool(args.label or args.text)
    return check_guidance(args.guidance_scale, dit.config, is_conditional=is_conditional)


def _steps(args: argparse.Namespace, state: GenerationState | None, levels: int) -> list[int]:
    """Return the steps of each stage."""
    if args.residual is not None:
        return [args.steps, args.residual_steps or RESIDUAL_STEPS]
    return [args.steps if state is None else state.request.settings.steps] * levels


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
    _check_residual(args)


def _check_residual(args: argparse.Namespace) -> None:
    if args.residual is None:
        if args.residual_steps is not None:
            raise ValueError(
                "`--residual-steps` are those of a residual, but there is none. Name its model "
                "with `--residual`."
            )
        return
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {"levels": "levels", "cache": "cache", "state": "state", "resume": "continue"}
    given = [
        f"`--{option}`"
        for name, option in options.items()
        if getattr(args, name) != parser.get_default(name)
    ]
    if given:
        raise ValueError(
            "`--residual` makes a base and what it leaves, without levels to cache or to go on "
            f"with. Leave out {', '.join(given)}."
        )


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


def _generate(
    args: argparse.Namespace,
    dit: DCSDiT,
    residual: DCSDiT | None,
    batch: list[Item],
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
        t, *patches = (residual or dit).config.grid
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
    if residual is not None:
        # Only given where it was asked for: 0 is refused, not taken for the default.
        asked = {} if args.residual_steps is None else {"residual_steps": args.residual_steps}
        for stage in sample_msf(dit, residual, on_progress=report, **asked, **request):
            if args.progressive or stage.level == 2:
                yield stage.level, stage.latents, None
        return
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
