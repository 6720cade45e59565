"""``dcs-dit train``."""

import argparse
from dataclasses import replace
from pathlib import Path

from dcs_common.training.command import (
    add_training_arguments,
    changed_training,
    command_arguments,
    last_line,
)
from dcs_dit.training.plan import plan
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.recipes import RECIPES, tiny
from dcs_dit.training.run import Inputs, train_generator


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
    folder = args.output or Path("runs") / args.recipe
    inputs = Inputs(
        data=tuple(args.data),
        init_from=args.init_from,
        text_encoder=args.text_encoder,
        validate=args.validate,
        checkpoint_activations=args.checkpoint_activations,
        device=args.device,
    )
    result = train_generator(recipe, inputs, folder, arguments=command_arguments(args))
    return last_line(result, recipe.training, recipe.name, folder)
