"""The four runs of Table 4, each from the one before it: at the paper's size and at a small one.

The small form keeps what tells the stages from one another: 4 levels become 8 at the second, scales
become asymmetric; clips, noise, margin and the adversarial loss come at the third; the decoder
learns alone, without noise, at the end. Steps, batches and rates are in the paper's proportions.
"""

from collections.abc import Callable
from dataclasses import replace

from ablations.small_tokenizer import small_config
from dcs_common.training import OptimizerConfig, TrainingConfig
from dcs_tok.config import DCSTokConfig
from dcs_tok.data import ScaleConfig
from dcs_tok.discriminator import PatchDiscriminatorConfig
from dcs_tok.training.recipe import LevelSampling, LossWeights, Recipe
from dcs_tok.training.recipes import stage_1, stage_2, stage_3, stage_3_decoder

STAGES: dict[str, Callable[[], Recipe]] = {
    "stage-1": stage_1,
    "stage-2": stage_2,
    "stage-3": stage_3,
    "stage-3-decoder": stage_3_decoder,
}
SIZE = 48
"""Short side of the small form's first stage, where the paper's is 256."""
SHRINK = 32
"""The small form's batches are the paper's over this."""
STEPS_SHRINK = 800
"""Its steps are the paper's over this."""
RATE = 3e-3
"""Learning rate of the small first stage (the paper: 1e-4); the others are in proportion."""
MARGIN_WEIGHT = 1e-4
"""lambda_3 without a perceptual loss beside it, whose values are ten times those of L2 here."""


def small_stage(name: str, seed: int, *, perceptual: bool, shrink: float = STEPS_SHRINK) -> Recipe:
    """Return the small form of a stage.

    Args:
        name: of :data:`STAGES`.
        seed: of weights, crops, level counts and noise.
        perceptual: keep that loss, on SqueezeNet; it needs weights.
        shrink: what the paper's steps are divided by.
    """
    recipe = STAGES[name]()
    paper = recipe.training
    factor = RATE / stage_1().training.optimizer.learning_rate
    rate = factor * paper.optimizer.learning_rate
    steps = max(1, round(paper.steps / shrink))
    return replace(
        recipe,
        name=f"{name}, small",
        model=_small_model(recipe.model.num_levels),
        scales=_small_scales(recipe.scales),
        # One count for a whole sample: uniform maps are what is measured.
        levels=LevelSampling(draw="sample"),
        losses=_small_losses(recipe.losses, perceptual=perceptual),
        training=TrainingConfig(
            steps=steps,
            batch_size=paper.batch_size // SHRINK,
            seed=seed,
            optimizer=OptimizerConfig(
                learning_rate=rate,
                matrix_learning_rate=2 * rate,
                betas=paper.optimizer.betas,
                warmup_steps=min(20, steps),
                schedule="cosine",
            ),
            ema_decay=0.98,
            checkpoint_every=50,
            log_every=10,
        ),
    )


def paper_stage(name: str, seed: int) -> Recipe:
    """Return a stage as Table 4 has it."""
    recipe = STAGES[name]()
    return replace(recipe, training=replace(recipe.training, seed=seed))


def _small_model(num_levels: int) -> DCSTokConfig:
    """The small ablations' transformers, for clips too, and patches of 12 px."""
    config = small_config()
    assert config.canonical is not None, "pixel tokens of the small model are canonical"
    return replace(
        config,
        num_levels=num_levels,
        canonical=replace(config.canonical, frames=2, grid=12),
        patch_rope=replace(config.patch_rope, segment_step=0.5),
        trunk_rope=replace(config.trunk_rope, segment_horizon=6),
    )


def _small_scales(scales: ScaleConfig) -> ScaleConfig:
    if not scales.asymmetric:
        sides: tuple[int, ...] = (SIZE,)
    elif not scales.clip_share:
        sides = (SIZE, 60, 72)
    else:
        sides = (36, SIZE, 60, 72)
    return replace(
        scales,
        short_sides=sides,
        patches=(4,),
        # Of 1/3 s, two segments; at 60 fps frames would only repeat those of the small clips.
        clip_seconds=1 / 3,
        fps=(12, 15, 24, 30) if scales.clip_share else scales.fps,
    )


def _small_losses(losses: LossWeights, *, perceptual: bool) -> LossWeights:
    weight = losses.margin_weight
    return replace(
        losses,
        perceptual=losses.perceptual if perceptual else 0.0,
        perceptual_trunk="squeeze",
        perceptual_size=None,
        discriminator=PatchDiscriminatorConfig(width=8, strided_layers=2),
        margin_weight=weight if perceptual or not weight else MARGIN_WEIGHT,
    )
