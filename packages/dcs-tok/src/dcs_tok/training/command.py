"""``dcs-tok train``."""

import argparse
from dataclasses import replace
from pathlib import Path

from dcs_common.training.command import (
    add_training_arguments,
    changed_training,
    command_arguments,
    last_line,
)
from dcs_tok.training.plan import plan
from dcs_tok.training.recipe import Recipe
from dcs_tok.training.recipes import RECIPES, tiny
from dcs_tok.training.run import Inputs, train_tokenizer


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
    folder = args.output or Path("runs") / args.recipe
    inputs = Inputs(
        data=tuple(args.data),
        clip_shards=tuple(args.clip_shards),
        samples_per_shard=args.samples_per_shard,
        init_from=args.init_from,
        validate=tuple(args.validate),
        workers=args.workers,
        cache_mib=args.cache_mib,
        trunk_weights=args.trunk_weights,
        perceptual_heads=args.perceptual_heads,
        checkpoint_activations=args.checkpoint_activations,
        device=args.device,
    )
    result = train_tokenizer(recipe, inputs, folder, arguments=command_arguments(args))
    return last_line(result, recipe.training, recipe.name, folder)
