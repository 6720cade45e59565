"""``dcs-dit train``."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dcs_common.config import config_to_dict
from dcs_common.machine import check_device, check_seed
from dcs_common.training import TrainingResult, World, joined_world
from dcs_common.training.checkpoint import CHECKPOINT_FILE
from dcs_common.training.command import (
    MODEL_FOLDER,
    add_training_arguments,
    changed_training,
    finished,
    run_in_folder,
    unfinished,
)
from dcs_dit.config import DCSDiTConfig
from dcs_dit.data.latent_cache import LatentCache
from dcs_dit.data.latent_form import check_form, holds_posteriors, latent_form
from dcs_dit.data.latent_moments import LatentStatistics
from dcs_dit.data.source import LatentBatch, LatentSource
from dcs_dit.model import DCSDiT
from dcs_dit.text import TextEncoder
from dcs_dit.training.initialise import initialise
from dcs_dit.training.plan import plan
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.recipes import RECIPES, tiny
from dcs_dit.training.task import GeneratorTask

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
    parser.add_argument("--init-from", metavar="MODEL", help="folder, name or hub id")
    parser.add_argument("--levels", type=int, metavar="M", help="train on the first M alone")
    parser.add_argument(
        "--text-encoder", metavar="ENCODER", help="folder or hub id: condition on captions"
    )
    parser.add_argument("--validate", type=Path, metavar="CACHE", help="latents held out")
    add_training_arguments(parser)


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe with the command line's changes."""
    recipe = RECIPES[args.recipe]()
    if args.tiny:
        recipe = tiny(recipe)
    training = changed_training(recipe.training, args)
    if args.validate is not None and not training.validate_every:
        training = replace(training, validate_every=training.checkpoint_every)
    levels = recipe.levels if args.levels is None else args.levels
    return replace(recipe, training=training, levels=levels)


def fitted_config(recipe: Recipe, cache: LatentCache) -> DCSDiTConfig:
    """Return the model's config for the latents of a cache.

    Raises:
        ValueError: if the latents have too few levels, other channels or another form.
    """
    config = recipe.model
    check_form(config.latent_form, cache)
    form = latent_form(config.latent_form)
    channels = form.channels(cache.channels, is_posterior=holds_posteriors(cache))
    if cache.num_levels < config.num_levels or channels != config.latent_channels:
        raise ValueError(
            f"The latents must have {config.num_levels} levels or more of "
            f"{config.latent_channels} channels, but the cache holds {cache.num_levels} of "
            f"{channels}. Cache the latents of another tokenizer, or of more levels."
        )
    dropouts = [recipe.label_dropout] * bool(cache.label_names)
    dropouts += [recipe.text_dropout] * (config.text_width is not None)
    return replace(
        config,
        trained_levels=recipe.levels,
        has_unconditional=all(dropouts),
        labels=cache.label_names,
        grid=form.grid(cache.grid),
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
        result = run_in_folder(
            lambda: _task(args, recipe, cache, encoder, held_out, world, folder),
            source,
            recipe.training,
            folder,
            world=world,
            identity=identity,
            args=args,
            package="dcs-dit",
        )
        if not world.is_main:
            return ""
        if not result.finished:
            return unfinished(result, recipe.training)
        return _finish(recipe, result, folder)


def _task(
    args: argparse.Namespace,
    recipe: Recipe,
    cache: LatentCache,
    encoder: TextEncoder | None,
    held_out: LatentBatch | None,
    world: World,
    folder: Path,
) -> GeneratorTask:
    torch.manual_seed(recipe.training.seed)
    dit = DCSDiT(recipe.model)
    dit.checkpoint_activations = args.checkpoint_activations
    form = latent_form(recipe.model.latent_form)
    statistics = form.statistics(cache, recipe.model.latent_channels)
    _copy(statistics.tokens, dit.latent_mean, dit.latent_std)
    if statistics.condition is not None:
        _copy(statistics.condition, dit.condition_mean, dit.condition_std)
    if args.init_from is not None and not (folder / CHECKPOINT_FILE).exists():
        said = initialise(dit, args.init_from)
        if world.is_main:
            print(f"dcs-dit: {said}", file=sys.stderr)
    return GeneratorTask(dit.to(world.device), recipe, text_encoder=encoder, held_out=held_out)


def _copy(statistics: LatentStatistics, mean: Tensor, std: Tensor) -> None:
    """Copy those of the model's levels."""
    mean.copy_(statistics.mean[: len(mean)])
    # What never changes carries nothing: any deviation brings it to zero.
    std.copy_(torch.where(statistics.std > 0, statistics.std, 1.0)[: len(std)])


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


def _finish(recipe: Recipe, result: TrainingResult, folder: Path) -> str:
    model = result.model.eval()
    assert isinstance(model, DCSDiT), "the task's first network is the generator"
    out = folder / MODEL_FOLDER
    model.save_pretrained(out)
    return finished(result, recipe.name, out)
