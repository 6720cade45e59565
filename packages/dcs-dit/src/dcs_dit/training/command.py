"""``dcs-dit train``."""

import argparse
import json
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dcs_common.atomic_file import write_atomically
from dcs_common.config import config_to_dict
from dcs_common.machine import check_device, check_seed
from dcs_common.training import TrainingResult, joined_world, train
from dcs_common.training.checkpoint import CHECKPOINT_FILE, load_checkpoint
from dcs_dit.config import DCSDiTConfig
from dcs_dit.data.latent_cache import LatentCache
from dcs_dit.data.source import LatentBatch, LatentSource
from dcs_dit.model import DCSDiT
from dcs_dit.text import TextEncoder
from dcs_dit.training.initialise import initialise
from dcs_dit.training.plan import plan
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.recipes import RECIPES, tiny
from dcs_dit.training.task import GeneratorTask

MODEL_FOLDER = "model"
RUN_FILE = "run.json"
# What may differ between the two halves of an interrupted run.
_MAY_CHANGE = tuple(
    f"training.{name}"
    for name in (
        *("steps", "accumulate", "compile", "checkpoint_every", "log_every", "validate_every"),
        *("images_every", "parallel"),
    )
)
_HELD_OUT = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("recipe", choices=sorted(RECIPES), help="what to train")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        type=Path,
        metavar="CACHE",
        help="folders of latents that `dcs-dit cache` wrote",
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/RECIPE")
    parser.add_argument("--init-from", metavar="MODEL", help="folder, name or hub id")
    parser.add_argument("--tiny", action="store_true", help="the recipe's form for a laptop")
    parser.add_argument("--levels", type=int, metavar="M", help="train on the first M alone")
    parser.add_argument(
        "--text-encoder", metavar="ENCODER", help="folder or hub id: condition on captions"
    )
    parser.add_argument("--plan", action="store_true", help="print what it costs and stop")
    parser.add_argument(
        "--memory", type=float, default=80e9, metavar="BYTES", help="of a device, for --plan"
    )
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="for --plan")
    parser.add_argument("--validate", type=Path, metavar="CACHE", help="latents held out")
    parser.add_argument("--steps", type=int, metavar="N")
    parser.add_argument("--batch-size", type=int, metavar="N", help="over all processes")
    parser.add_argument("--accumulate", type=int, metavar="N", help="micro-batches of a step")
    parser.add_argument("--learning-rate", type=float, metavar="RATE")
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument(
        "--parallel",
        choices=("ddp", "fsdp"),
        help="copy the model to every process, or divide it among them",
    )
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument(
        "--checkpoint-activations", action="store_true", help="trade time for memory"
    )
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe with the command line's changes."""
    recipe = RECIPES[args.recipe]()
    if args.tiny:
        recipe = tiny(recipe)
    training = replace(recipe.training, seed=args.seed, compile=args.compile)
    for name in ("steps", "batch_size", "accumulate", "precision", "parallel"):
        value = getattr(args, name)
        if value is not None:
            training = replace(training, **{name: value})
    if args.learning_rate is not None:
        optimizer = training.optimizer
        matrix = optimizer.matrix_learning_rate
        if matrix is not None:  # keep their ratio
            matrix *= args.learning_rate / optimizer.learning_rate
        optimizer = replace(
            optimizer, learning_rate=args.learning_rate, matrix_learning_rate=matrix
        )
        training = replace(training, optimizer=optimizer)
    if args.validate is not None and not training.validate_every:
        training = replace(training, validate_every=training.checkpoint_every)
    levels = recipe.levels if args.levels is None else args.levels
    return replace(recipe, training=training, levels=levels)


def fitted_config(recipe: Recipe, cache: LatentCache) -> DCSDiTConfig:
    """Return the model's config for the latents of a cache.

    Raises:
        ValueError: if the latents have too few levels, or other channels.
    """
    config = recipe.model
    if cache.num_levels < config.num_levels or cache.channels != config.latent_channels:
        raise ValueError(
            f"The latents must have {config.num_levels} levels or more of "
            f"{config.latent_channels} channels, but the cache holds {cache.num_levels} of "
            f"{cache.channels}. Cache the latents of another tokenizer, or of more levels."
        )
    dropouts = [recipe.label_dropout] * bool(cache.label_names)
    dropouts += [recipe.text_dropout] * (config.text_width is not None)
    return replace(
        config,
        trained_levels=recipe.levels,
        has_unconditional=all(dropouts),
        labels=cache.label_names,
        grid=cache.grid,
        patch_pixels=round(min(cache.size) / min(cache.grid[1:])),
        tokenizer=cache.tokenizer,
        tokenizer_model=cache.tokenizer_model,
    )


def run(args: argparse.Namespace) -> str:
    """Train a generator on cached latents."""
    recipe = chosen_recipe(args)
    if args.plan:
        return plan(
            recipe,
            device=args.device,
            world_size=args.devices,
            memory=args.memory,
            checkpoint_activations=args.checkpoint_activations,
        )
    if not args.data:
        raise ValueError(
            "`--data` must name a cache of latents, but is empty. Make one with `dcs-dit cache`."
        )
    folder = args.output or Path("runs") / args.recipe
    check_seed(args.seed)
    check_device(args.device, each_its_own=True)
    cache = LatentCache.open_all(args.data)
    encoder = _text_encoder(args, cache)
    if encoder is not None:
        conditioned = replace(
            recipe.model,
            text_width=encoder.width,
            text_encoder=args.text_encoder,
            text_fingerprint=getattr(encoder, "fingerprint", None),
        )
        recipe = replace(recipe, model=conditioned)
    recipe = replace(recipe, model=fitted_config(recipe, cache))
    held_out = None if args.validate is None else _held_out(args.validate, cache, recipe)
    with joined_world(args.device) as world:
        recipe.training.samples_per_share(world.size)
        source = LatentSource(cache, recipe.training.seed)
        identity = config_to_dict(recipe) | {"data": source.fingerprint}
        # Another run's folder is refused here, before a line of it changes.
        load_checkpoint(folder, identity, _MAY_CHANGE)
        torch.manual_seed(recipe.training.seed)
        dit = DCSDiT(recipe.model)
        dit.checkpoint_activations = args.checkpoint_activations
        n = recipe.model.num_levels
        mean, std = cache.statistics.mean[:n], cache.statistics.std[:n]
        dit.latent_mean.copy_(mean)
        # What never changes carries nothing: any deviation brings it to zero.
        dit.latent_std.copy_(torch.where(std > 0, std, 1.0))
        if args.init_from is not None and not (folder / CHECKPOINT_FILE).exists():
            said = initialise(dit, args.init_from)
            if world.is_main:
                print(f"dcs-dit: {said}", file=sys.stderr)
        task = GeneratorTask(dit.to(world.device), recipe, text_encoder=encoder, held_out=held_out)
        _make(folder)
        if world.is_main:
            _write_record(folder, identity, args)
        result = train(
            task,
            source,
            recipe.training,
            folder,
            world=world,
            identity=identity,
            may_change=_MAY_CHANGE,
        )
        if not world.is_main:
            return ""
        if not result.finished:
            return f"stopped at step {result.step} of {recipe.training.steps}; run again to go on"
        return _finish(recipe, result, folder)


def _text_encoder(args: argparse.Namespace, cache: LatentCache) -> TextEncoder | None:
    if args.text_encoder is None:
        return None
    if cache.captions([0]) is None:
        raise ValueError(
            "`--text-encoder` needs latents with captions, but the cache has none. Make it with a "
            "table that has a column `caption`."
        )
    from dcs_dit.transformers_text import TransformersTextEncoder

    return TransformersTextEncoder(args.text_encoder, device=args.device)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"The output must be a folder that can be made, but {folder} cannot be "
            f"({error.strerror}). Name another with `--output`."
        ) from None


def _held_out(folder: Path, cache: LatentCache, recipe: Recipe) -> LatentBatch:
    """Read some latents to validate on.

    Raises:
        ValueError: if they are not of the same kind as those of training, or never looked at.
    """
    other = LatentCache.open(folder)
    levels = recipe.levels or recipe.model.num_levels
    if other.num_levels < levels:
        raise ValueError(
            f"Latents held out must have the {levels} levels that are trained, but {folder} has "
            f"{other.num_levels}. Cache them with the same settings."
        )
    for what in ("tokenizer", "grid", "label_names"):
        there, here = getattr(other, what), getattr(cache, what)
        if there != here:
            raise ValueError(
                f"Latents held out must have the same {what} as those of `--data`, but {folder} "
                f"has {there}, not {here}. Cache them with the same settings."
            )
    count = min(len(other), _HELD_OUT)
    indices = [i * len(other) // count for i in range(count)]
    return LatentBatch(other.tokens(indices), other.labels[indices], other.captions(indices))


def _write_record(folder: Path, identity: dict[str, Any], args: argparse.Namespace) -> None:
    """Write down what the run is, for whoever finds the folder."""
    record = {
        "recipe": identity,
        "arguments": {k: str(v) for k, v in sorted(vars(args).items()) if k != "run"},
        "versions": {"dcs-dit": version("dcs-dit"), "torch": torch.__version__},
    }
    write_atomically(folder / RUN_FILE, (json.dumps(record, indent=1) + "\n").encode())


def _finish(recipe: Recipe, result: TrainingResult, folder: Path) -> str:
    model = result.model.eval()
    assert isinstance(model, DCSDiT), "the task's first network is the generator"
    out = folder / MODEL_FOLDER
    model.save_pretrained(out)
    return (
        f"wrote {out}: {recipe.name}, {result.step} steps, {result.samples} samples, "
        f"{result.seconds:.0f} s in this call"
    )
