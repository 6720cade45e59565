"""The runs: Table 4's three stages, the decoder fine-tuning, and the small models that ship.

    dcs-tok train stage-1 --data imagenet/ --output runs/stage-1
    dcs-tok train stage-2 --data imagenet/ koala/ --init-from runs/stage-1/model ...

A recipe is a function, so that a run of one's own is ``dataclasses.replace`` of it. ``--tiny``
gives each a form that keeps its shape and runs on a laptop in minutes.
"""

from collections.abc import Callable
from dataclasses import replace

from dcs_common.training import OptimizerConfig, TrainingConfig
from dcs_tok.config import (
    DCSTokConfig,
    dcs_tok_b,
    dcs_tok_nano,
    dcs_tok_nano_dcs,
    dcs_tok_nano_fixed,
    dcs_tok_nano_kl,
    dcs_tok_nano_vanilla,
)
from dcs_tok.data import ScaleConfig
from dcs_tok.discriminator import PatchDiscriminatorConfig
from dcs_tok.training.recipe import LevelSampling, LossWeights, Recipe

SHORT_SIDES = (256, 288, 320, 384, 448, 512, 576, 640, 720)
"""Short sides of asymmetric training on pictures, 256 to 720 (Table 4)."""


def stage_1() -> Recipe:
    """Low-resolution start on pictures (Table 4, first column).

    ImageNet at 256 px, 4 levels, L2 and perceptual loss, 100K steps of 128 at 1e-4. The paper: 4
    nodes of 8 GPUs, a week for the three stages; 26.91 dB at one level in the end (Table 1).
    Here: not run.
    """
    return Recipe(
        name="stage-1",
        model=replace(dcs_tok_b(), num_levels=4),
        scales=ScaleConfig(short_sides=(256,)),
        losses=LossWeights(perceptual=1.0),
        training=TrainingConfig(
            steps=100_000, batch_size=128, optimizer=OptimizerConfig(learning_rate=1e-4)
        ),
    )


def stage_2() -> Recipe:
    """Asymmetric training on pictures (Table 4, second column).

    ImageNet and first frames of Koala-36M at 256 to 720 px, 8 levels, 200K steps of 256 at 5e-5.
    Here: not run.
    """
    first = stage_1()
    return replace(
        first,
        name="stage-2",
        model=dcs_tok_b(),
        scales=ScaleConfig(short_sides=SHORT_SIDES, asymmetric=True, first_frames=True),
        losses=replace(first.losses, perceptual_size=256),
        training=replace(
            first.training,
            steps=200_000,
            batch_size=256,
            optimizer=OptimizerConfig(learning_rate=5e-5),
        ),
        grows_levels=True,
        starts_from="stage-1",
    )


def stage_3() -> Recipe:
    """Asymmetric training on clips, all losses (Table 4, third column).

    Koala-36M and LAVIB at 128 to 720 px and 12 to 60 fps, 100K of the 150K steps of 256 at 5e-5,
    with denoising, L2-margin and the adversarial loss. The paper gives no length of clips; 2/3 s
    are the 16 frames at 24 fps of its evaluation. Here: not run.
    """
    second = stage_2()
    return replace(
        second,
        name="stage-3",
        scales=ScaleConfig(
            short_sides=(128, 192, *SHORT_SIDES),
            asymmetric=True,
            clip_share=0.5,
            fps=(12, 15, 24, 25, 30, 50, 60),
        ),
        losses=replace(
            second.losses,
            adversarial=0.2,
            margin_weight=0.001,
            margin=1.0,
            denoise_std=3.0,
        ),
        training=replace(second.training, steps=100_000),
        grows_levels=False,
        starts_from="stage-2",
    )


def stage_3_decoder() -> Recipe:
    """Fine-tune the decoder: stage 3's last 50K steps, encoder frozen, no denoising (Table 4)."""
    third = stage_3()
    return replace(
        third,
        name="stage-3-decoder",
        losses=replace(third.losses, denoise_std=0.0),
        training=replace(third.training, steps=50_000),
        freezes_encoder=True,
        starts_from="stage-3",
    )


def nano() -> Recipe:
    """The small model that ships, for rate and distortion.

    Log L2, every level count alike, at short sides from 16 to 256 px and 8 or 12 patches, so that
    patches hold 1 to 32 pixels a side; an eighth of the batches are clips. Starts from the linear
    path. Measured: docs/results.md.
    """
    return Recipe(
        name="nano",
        model=dcs_tok_nano(),
        scales=ScaleConfig(
            short_sides=(16, 32, 64, 96, 128, 128, 128, 128, 192, 256),
            patches=(8, 8, 8, 8, 12),
            crop="native",
            clip_share=1 / 8,
            fps=(12, 15, 24, 30),
            clip_seconds=1 / 3,
        ),
        levels=LevelSampling(draw="sample", weights="equal"),
        losses=LossWeights(reconstruction="log_l2"),
        training=TrainingConfig(
            steps=12_000,
            batch_size=16,
            optimizer=OptimizerConfig(
                learning_rate=2e-3,
                matrix_learning_rate=3e-3,
                factors=(("linear_path.", 0.1),),
                warmup_steps=30,
                schedule="cosine",
            ),
            ema_decay=0.998,
            checkpoint_every=500,
            validate_every=1000,
            images_every=1000,
        ),
        starts_from="a linear path (dcs-tok fit-linear) or dcs-tok-nano",
    )


def nano_rate() -> Recipe:
    """Fine-tune nano for compression: quantised latents, and their bits in the loss.

    At steps from 2.5 to 0.05 of canonical pixels, which cover 0.03 to 2 bits per pixel, with a
    context network (:mod:`dcs_tok.compression.context_network`) that learns beside the tokenizer.
    Half of the pictures keep all levels, as files do. Measured: docs/results.md.
    """
    base = nano()
    return replace(
        base,
        name="nano-rate",
        scales=replace(
            base.scales, short_sides=(128, 192, 256), patches=(8, 8, 12, 16), clip_share=1 / 16
        ),
        levels=LevelSampling(draw="sample", weights="equal", full_share=0.5),
        losses=LossWeights(reconstruction="log_l2", rate=0.1),
        grows_blocks=True,
        training=replace(
            base.training,
            optimizer=replace(
                base.training.optimizer, learning_rate=1e-3, matrix_learning_rate=1.5e-3
            ),
            other_optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=30, schedule="cosine"),
        ),
        starts_from="nano",
    )


def nano_gen() -> Recipe:
    """The small model for generation: L2, perceptual loss, denoising and margin.

    Latents that a diffusion model can learn (Table 6): noise of deviation 3 in training and the
    L2-margin of 1. Starts from nano with its latents rescaled to the deviation that Table 6 has for
    the last level, as nano's are a thirtieth of the noise; ``nano-gen-decoder`` then fine-tunes the
    decoder without noise.
    """
    base = nano()
    return replace(
        base,
        name="nano-gen",
        scales=ScaleConfig(short_sides=(128,), patches=(8, 16), crop="largest", clip_share=0.0),
        levels=LevelSampling(draw="sample"),
        losses=LossWeights(
            perceptual=0.1,
            perceptual_trunk="squeeze",
            margin_weight=1e-4,  # a thousandth of the perceptual loss's, as in Eq. 6
            margin=1.0,
            denoise_std=3.0,
        ),
        training=replace(base.training, steps=8_000),
        initial_latent_std=2.7,
        starts_from="nano",
    )


def nano_gen_decoder() -> Recipe:
    """Fine-tune the decoder of nano-gen: encoder frozen, no denoising, every level count alike.

    Under noise the decoder learns to leave high levels out; they come back here.
    """
    base = nano_gen()
    return replace(
        base,
        name="nano-gen-decoder",
        levels=LevelSampling(draw="sample", weights="equal"),
        losses=replace(base.losses, denoise_std=0.0),
        training=replace(base.training, steps=2_000),
        freezes_encoder=True,
        initial_latent_std=None,
        starts_from="nano-gen",
    )


def nano_dcs() -> Recipe:
    """What the rivals are compared with: DCS on their data, networks, patches and budget.

    The nano recipe on pictures alone, at short sides from 64 to 256 px of native crops and 8 x 8
    patches, with 8 levels. The rivals of Fig. 1 have one level of 16 channels, so that at 128 px
    all of them see 64 patches of 16 px::

        dcs-tok fit-linear linear.safetensors --model dcs-tok-nano-dcs --photos PHOTOS/
        dcs-tok train nano-dcs --data PHOTOS/ --init-from linear.safetensors

    One CPU core; steps and figures: docs/results.md.
    """
    base = nano()
    return replace(
        base,
        name="nano-dcs",
        model=dcs_tok_nano_dcs(),
        scales=ScaleConfig(
            short_sides=(64, 96, 128, 128, 128, 192, 256), patches=(8,), crop="native"
        ),
        training=replace(base.training, steps=1_000, ema_decay=0.99),
        starts_from="a linear path (dcs-tok fit-linear)",
    )


def nano_vanilla() -> Recipe:
    """Rival: patches of 16 px at every scale, 16 to 256 tokens at 64 to 256 px (Fig. 1)."""
    base = nano_dcs()
    return replace(
        base,
        name="nano-vanilla",
        model=dcs_tok_nano_vanilla(),
        scales=replace(base.scales, patch_pixels=16),
    )


def nano_fixed() -> Recipe:
    """Rival: a fixed capacity, 64 tokens at every scale and no levels (Fig. 1; VFRTok)."""
    return replace(nano_dcs(), name="nano-fixed", model=dcs_tok_nano_fixed())


def nano_kl() -> Recipe:
    """Rival: the fixed capacity as a variational autoencoder, for the forms of Decoupled LDM.

    The weight is our choice: decoding a draw in place of the mean then adds a twentieth to the
    squared error (26.08 in place of 26.30 dB on Kodak at 128 px), which a generator can notice.
    """
    return replace(
        nano_dcs(),
        name="nano-kl",
        model=dcs_tok_nano_kl(),
        losses=LossWeights(reconstruction="log_l2", kl=0.1),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "stage-1": stage_1,
    "stage-2": stage_2,
    "stage-3": stage_3,
    "stage-3-decoder": stage_3_decoder,
    "nano": nano,
    "nano-rate": nano_rate,
    "nano-gen": nano_gen,
    "nano-gen-decoder": nano_gen_decoder,
    "nano-dcs": nano_dcs,
    "nano-vanilla": nano_vanilla,
    "nano-fixed": nano_fixed,
    "nano-kl": nano_kl,
}


def tiny(recipe: Recipe) -> Recipe:
    """Return a form of a recipe that keeps its losses and stages and runs in minutes on a CPU."""
    scales = recipe.scales
    return replace(
        recipe,
        name=f"{recipe.name} (tiny)",
        model=_tiny_model(recipe.model),
        scales=replace(
            scales,
            short_sides=(48, 64) if scales.asymmetric else (64,),
            patches=(4,),
            clip_seconds=1 / 4,
        ),
        losses=replace(
            recipe.losses,
            discriminator=PatchDiscriminatorConfig(width=8, strided_layers=2),
        ),
        training=replace(
            recipe.training,
            steps=200,
            batch_size=8,
            checkpoint_every=50,
            log_every=10,
            validate_every=min(100, recipe.training.validate_every),
            images_every=min(100, recipe.training.images_every),
        ),
    )


def _tiny_model(config: DCSTokConfig) -> DCSTokConfig:
    if config.patchifier is None or config.encoder is None:
        return config
    patch = replace(config.patchifier, width=32, heads=2, blocks=2)
    trunk = replace(config.encoder, width=64, heads=2, blocks=2)
    return replace(
        config,
        patches_short_side=4,
        patchifier=patch,
        depatchifier=patch,
        encoder=trunk,
        decoder=trunk,
    )
