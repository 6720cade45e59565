"""What ``--plan`` prints for experiments that train: the packages' own plans, and their sum."""

import sys
from collections.abc import Sequence

from dcs_tok.training.plan import plan as plan_of_tokenizer
from dcs_tok.training.recipe import Recipe as TokenizerRecipe
from launching import Options


def tokenizer_plan(
    recipes: Sequence[TokenizerRecipe], options: Options, *, runs: int, devices: int | None = None
) -> str:
    """Return the plan of every recipe, under its name.

    Args:
        recipes: trained one after the other or side by side.
        options: of the command line.
        runs: seeds of each.
        devices: of a run; by default one, or the paper's 32.
    """
    if devices is None:
        devices = 1 if options.preset == "tiny" else 32
    # Large models keep no activations: 80 GB would not hold a micro-batch of the largest scale.
    recompute = options.preset != "tiny"
    parts = [f"{len(recipes)} runs, {runs} times each, on {devices} devices"]
    for recipe in recipes:
        print(f"planning {recipe.name}", file=sys.stderr, flush=True)  # large ones take a minute
        said = plan_of_tokenizer(
            recipe,
            device=options.device,
            world_size=devices,
            checkpoint_activations=recompute,
        )
        parts.append(f"## {recipe.name}\n\n{said}")
    return "\n\n".join(parts)
