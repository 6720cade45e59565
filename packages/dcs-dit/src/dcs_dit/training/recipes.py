"""The recipes of ``dcs-dit train``."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

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


# ---------------------------------------------------------------------- rivals, on the same blocks


def nano_4x4() -> Recipe:
    """DCS beside its rivals: 4 levels of 4 x 4 tokens, the 1024 numbers that theirs have, too.

    | | paper | ours |
    | --- | --- | --- |
    | data | - | `dcs-dit cache --patches 4 --levels 4` of the tokenizer `nano-dcs` at 128 px |
    | hardware | - | one CPU core, as for all rivals |
    | result | none at this size | in docs/results.md |
    """
    return _rival("nano-4x4", num_levels=4, grid=(1, 4, 4), patch_pixels=32)


def nano_ldm() -> Recipe:
    """Vanilla latent diffusion: one level of 8 x 8 tokens, codes drawn from the posterior.

    With one level, level-causal attention is full attention. The first of the three that Decoupled
    LDM compares.

    | | paper | ours |
    | --- | --- | --- |
    | data | - | `dcs-dit cache --tokenizer dcs-tok-posterior` of `nano-kl` at 128 px |
    | hardware | - | one CPU core |
    | result | none at this size | in docs/results.md |
    """
    return _rival("nano-ldm", latent_form="posterior-sample")


def nano_ldm_mean() -> Recipe:
    """Like :func:`nano_ldm`, of the posterior's mean alone: Decoupled LDM's choice.

    That paper reports it as good as the sample or better, and sharper; ours is as good.
    """
    return _rival("nano-ldm-mean", latent_form="posterior-mean")


def nano_ldm_mean_std() -> Recipe:
    """Like :func:`nano_ldm`, of mean and deviation side by side, 32 channels."""
    return _rival("nano-ldm-mean-std", latent_form="posterior-mean-std", latent_channels=32)


def nano_msf_base() -> Recipe:
    """The base of MSF: 4 x 4 means of the 8 x 8 tokens that :func:`nano_ldm_mean` makes.

    MSF reports FID 2.08 on ImageNet at 256 px, four times faster than DiT at equal steps; ours was
    2.3 times faster with 12 steps for the residual.
    """
    return _rival("nano-msf-base", latent_form="msf-base", grid=(1, 4, 4))


def nano_msf_residual() -> Recipe:
    """The residual of MSF, given the base with a little noise.

    For `dcs-dit sample --residual`, beside a model of :func:`nano_msf_base`. How strong the noise
    is to be is our choice.
    """
    recipe = _rival("nano-msf-residual", latent_form="msf-residual", condition_channels=16)
    return replace(recipe, condition_noise=0.1)


def _rival(name: str, **model: Any) -> Recipe:
    """Return the nano recipe with another model of the same blocks; one level of 8 x 8 patches."""
    settings: dict[str, Any] = {"num_levels": 1, "grid": (1, 8, 8), "patch_pixels": 16} | model
    return replace(nano(), name=name, model=replace(dcs_dit_nano(), **settings))


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


RECIPES: dict[str, Callable[[], Recipe]] = {
    "xl": xl,
    "b": b,
    "s": s,
    "nano": nano,
    "nano-4x4": nano_4x4,
    "nano-ldm": nano_ldm,
    "nano-ldm-mean": nano_ldm_mean,
    "nano-ldm-mean-std": nano_ldm_mean_std,
    "nano-msf-base": nano_msf_base,
    "nano-msf-residual": nano_msf_residual,
}
