"""The tokenizer of the small ablations: the paper's transformers at a small size.

No linear path and no warm start: what the levels hold is what the losses make of them.
"""

from dcs_common.rope import RopeConfig
from dcs_common.training import OptimizerConfig, TrainingConfig
from dcs_tok.config import CanonicalConfig, DCSTokConfig, PatchNetworkConfig, TrunkConfig
from dcs_tok.data import ScaleConfig
from dcs_tok.training.recipe import LevelSampling, LossWeights, Recipe

LEVELS = 8
SIZE = 64
PATCHES = 4


def small_config() -> DCSTokConfig:
    """Return its architecture: 1.0 million parameters, 4 x 4 patches, 4 channels a level.

    Pixel tokens stand for 4 x 4 pixels, which makes a step four times as fast as one token for
    each pixel. With 16 channels, one level would hold what eight hold here, and there would be
    nothing left to tell the higher levels by.
    """
    patch = PatchNetworkConfig(width=64, heads=2, blocks=2, fourier_features=3)
    trunk = TrunkConfig(width=128, heads=4, blocks=2, level_embedding=True)
    return DCSTokConfig(
        num_levels=LEVELS,
        latent_channels=4,
        patches_short_side=PATCHES,
        patchifier=patch,
        depatchifier=patch,
        encoder=trunk,
        decoder=trunk,
        pixel_tokens="canonical",
        canonical=CanonicalConfig(frames=1, grid=16, cell=4, linear_path=False),
        patch_rope=RopeConfig(spatial_steps=4, segment_horizon=1, segment_step=0.25),
        trunk_rope=RopeConfig(spatial_steps=PATCHES, segment_horizon=1),
    )


def small_recipe(
    name: str,
    losses: LossWeights,
    *,
    seed: int,
    steps: int,
    batch_size: int = 16,
    levels: LevelSampling | None = None,
    freezes_encoder: bool = False,
) -> Recipe:
    """Return a run of it on 64 px crops.

    Args:
        name: of the run.
        losses: what differs between the runs of an ablation.
        seed: of weights, crops, level counts and noise.
        steps: of 16 crops.
        batch_size: crops of a step.
        levels: how levels are drawn; by default one count for a whole crop, drawn by the paper's
            p_m, so that training meets the uniform grids that are measured.
        freezes_encoder: train the decoder alone.
    """
    return Recipe(
        name=name,
        model=small_config(),
        # Of a dozen photos, whole pictures would be learned by heart; windows are countless.
        scales=ScaleConfig(short_sides=(SIZE,), patches=(PATCHES,), crop="native"),
        levels=levels or LevelSampling(draw="sample"),
        losses=losses,
        training=TrainingConfig(
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            optimizer=OptimizerConfig(
                learning_rate=3e-3,
                matrix_learning_rate=6e-3,
                warmup_steps=min(50, steps),
                schedule="cosine",
            ),
            ema_decay=0.99,
            checkpoint_every=100,
            log_every=20,
        ),
        freezes_encoder=freezes_encoder,
    )
