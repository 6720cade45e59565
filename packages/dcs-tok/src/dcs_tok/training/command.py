"""``dcs-tok train``."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dcs_common.config import config_to_dict
from dcs_common.machine import check_device, check_seed
from dcs_common.training import (
    BatchSource,
    Share,
    TrainingResult,
    World,
    joined_world,
)
from dcs_common.training.checkpoint import CHECKPOINT_FILE
from dcs_common.training.command import (
    MODEL_FOLDER,
    add_training_arguments,
    changed_training,
    finished,
    run_in_folder,
    unfinished,
)
from dcs_tok.data import LaneConfig, LoadingConfig, PictureAndClipSource, ShardSource
from dcs_tok.losses.perceptual import PerceptualLoss
from dcs_tok.pictures import read_picture
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training.initialise import initialise
from dcs_tok.training.latent_statistics import measure_latents
from dcs_tok.training.plan import plan
from dcs_tok.training.recipe import Recipe
from dcs_tok.training.recipes import RECIPES, tiny
from dcs_tok.training.rescale_latents import denoising_scales, rescale_latents
from dcs_tok.training.task import TokenizerTask

_STATISTICS_BATCHES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("recipe", choices=sorted(RECIPES), help="what to train")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="folders, zips and files of pictures and clips, or WebDataset shards (*.tar)",
    )
    parser.add_argument("--samples-per-shard", type=int, metavar="N", help="in WebDataset shards")
    parser.add_argument(
        "--clip-shards", nargs="+", default=[], metavar="SHARD", help="WebDataset shards of clips"
    )
    parser.add_argument("--init-from", metavar="MODEL", help="folder, name, hub id or linear path")
    parser.add_argument("--validate", nargs="+", default=[], type=Path, metavar="PICTURE")
    parser.add_argument(
        "--clip-share", type=float, metavar="P", help="of batches; 0: pictures only"
    )
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="reading processes")
    parser.add_argument("--cache-mib", type=int, default=0, metavar="N", help="of decoded pictures")
    parser.add_argument("--perceptual-trunk", choices=("vgg", "alex", "squeeze"))
    parser.add_argument("--no-perceptual", action="store_true", help="leave that loss out")
    parser.add_argument("--trunk-weights", type=Path, metavar="FILE", help="of the perceptual loss")
    parser.add_argument("--perceptual-heads", type=Path, metavar="FILE", help="likewise")
    add_training_arguments(parser)


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe with the command line's changes."""
    recipe = RECIPES[args.recipe]()
    if args.tiny:
        recipe = tiny(recipe)
    training = changed_training(recipe.training, args)
    losses = recipe.losses
    if args.perceptual_trunk is not None:
        losses = replace(losses, perceptual_trunk=args.perceptual_trunk)
    if args.no_perceptual:
        losses = replace(losses, perceptual=0.0)
    scales = recipe.scales
    if args.clip_share is not None:
        scales = replace(scales, clip_share=args.clip_share)
    return replace(recipe, training=training, losses=losses, scales=scales)


def run(args: argparse.Namespace) -> str:
    """Train a tokenizer."""
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
        raise ValueError("`--data` must name pictures, but is empty. Give folders, zips or shards.")
    folder = args.output or Path("runs") / args.recipe
    check_seed(args.seed)
    check_device(args.device, each_its_own=True)
    with joined_world(args.device) as world:
        recipe.training.samples_per_share(world.size)
        source = _source(args, recipe, world)
        identity = config_to_dict(recipe) | {"data": source.fingerprint}
        result = run_in_folder(
            lambda: _task(args, recipe, source, world, folder),
            source,
            recipe.training,
            folder,
            world=world,
            identity=identity,
            args=args,
            package="dcs-tok",
        )
        if not world.is_main:
            return ""
        if not result.finished:
            return unfinished(result, recipe.training)
        return _finish(recipe, result, source, folder)


def _source(
    args: argparse.Namespace, recipe: Recipe, world: World
) -> PictureAndClipSource | ShardSource:
    loading = LoadingConfig(
        workers=args.workers, cache_mib=args.cache_mib, pin_memory=world.device.type == "cuda"
    )
    seed = recipe.training.seed
    if any(str(source).endswith(".tar") for source in args.data):
        if args.samples_per_shard is None:
            raise ValueError(
                "`--samples-per-shard` must be given for WebDataset shards, but is not. It decides "
                "where a run goes on in them; take the number in a full shard."
            )
        lanes = LaneConfig(samples_per_shard=args.samples_per_shard)
        return ShardSource(
            args.data,
            recipe.scales,
            lanes,
            seed=seed,
            clip_shards=args.clip_shards,
            config=loading,
        )
    return PictureAndClipSource(args.data, recipe.scales, seed=seed, config=loading)


def _task(
    args: argparse.Namespace, recipe: Recipe, source: BatchSource, world: World, folder: Path
) -> TokenizerTask:
    torch.manual_seed(recipe.training.seed)
    tok = DCSTok(recipe.model)
    tok.checkpoint_activations = args.checkpoint_activations
    resumes = (folder / CHECKPOINT_FILE).exists()
    if args.init_from is not None and not resumes:
        said = initialise(
            tok,
            args.init_from,
            grows_levels=recipe.grows_levels,
            grows_blocks=recipe.grows_blocks,
        )
        if world.is_main:
            print(f"dcs-tok: {said}", file=sys.stderr)
        if recipe.initial_latent_std is not None:
            found = measure_latents(tok.eval(), source.batches(_statistics_shares(recipe)))
            rescale_latents(tok.train(), denoising_scales(found.std, recipe.initial_latent_std))
    perceptual = None
    if recipe.losses.perceptual:
        perceptual = PerceptualLoss(
            recipe.losses.perceptual_trunk,
            trunk_weights=args.trunk_weights,
            heads=args.perceptual_heads,
            max_size=recipe.losses.perceptual_size,
        ).to(world.device)
    validation = _read_all(args.validate)
    return TokenizerTask(tok.to(world.device), recipe, perceptual=perceptual, validation=validation)


def _read_all(paths: Sequence[Path]) -> list[Tensor]:
    return [read_picture(path).pixels for path in paths]


def _finish(recipe: Recipe, result: TrainingResult, source: BatchSource, folder: Path) -> str:
    """Measure the latents and write the model folder."""
    model = result.model.eval()
    assert isinstance(model, DCSTok), "the task's first network is the tokenizer"
    out = folder / MODEL_FOLDER
    device = next(model.parameters()).device
    model.save_pretrained(out)
    model = DCSTok.from_pretrained(out).to(device)
    statistics = measure_latents(model, source.batches(_statistics_shares(recipe)))
    statistics.save(out, model.fingerprint)
    return finished(result, recipe.name, out)


def _statistics_shares(recipe: Recipe) -> Iterator[Share]:
    """Yield shares of the run's first steps, in small batches."""
    size = min(recipe.training.batch_size, 16)
    for step in range(min(_STATISTICS_BATCHES, recipe.training.steps)):
        yield Share(step, 0, size, recipe.training.batch_size)
