"""The recipes of ``dcs-dit train``."""

from collections.abc import Callable
from dataclasses import replace

from dcs_common.training import OptimizerConfig, TrainingConfig
from dcs_dit.config import dcs_dit_b, dcs_dit_nano, dcs_dit_s, dcs_dit_xl
from dcs_dit.training.recipe import Recipe


def xl() -> Recipe:
    """DCS-DiT-XL on ImageNet at 256 px, 4 levels: Table 5.

    | | paper | ours |
    | --- | --- | --- |
    | steps, batch, rate | 200K, 512, 1e-4 | the same |
    | hardware and time | 4 nodes, about 4 days | not run |
    | gFID / IS at 1 level | 7.68 / 111.4 | not run |
    | with guidance | 2.50 / 281.8 | not run |
    """
    return Recipe(
        name="xl",
        model=dcs_dit_xl(),
        training=TrainingConfig(
            steps=200_000,
            batch_size=512,
            optimizer=OptimizerConfig(learning_rate=1e-4, betas=(0.9, 0.95)),
            ema_decay=0.9999,
            checkpoint_every=2000,
        ),
    )


def b() -> Recipe:
    """Like :func:`xl` with the B size; not run."""
    return replace(xl(), name="b", model=dcs_dit_b())


def s() -> Recipe:
    """Like :func:`xl` with the S size; not run."""
    return replace(xl(), name="s", model=dcs_dit_s())


def nano() -> Recipe:
    """The shipped model: ten classes at 128 px, on whatever machine there is.

    Muon on the matrices and a larger rate, as the run is short; a higher decay would average
    over more than the run. The paper has no such model.
    """
    return Recipe(
        name="nano",
        model=dcs_dit_nano(),
        training=TrainingConfig(
            steps=20_000,
            batch_size=64,
            optimizer=OptimizerConfig(
                learning_rate=1e-3,
                matrix_learning_rate=2e-3,
                betas=(0.9, 0.95),
                warmup_steps=100,
                schedule="cosine",
                final_fraction=0.05,
            ),
            ema_decay=0.999,
            checkpoint_every=500,
            validate_every=500,
        ),
    )


def tiny(recipe: Recipe) -> Recipe:
    """Return a recipe's form for a laptop: the same losses and draws, minutes in place of days."""
    return replace(
        recipe,
        name=f"{recipe.name}-tiny",
        model=replace(recipe.model, width=64, heads=2, blocks=2),
        training=replace(
            recipe.training,
            steps=200,
            batch_size=16,
            optimizer=replace(recipe.training.optimizer, learning_rate=1e-3, warmup_steps=10),
            ema_decay=0.99,
            checkpoint_every=100,
            validate_every=0,
        ),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"xl": xl, "b": b, "s": s, "nano": nano}
