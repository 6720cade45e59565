"""A complete description of a training run."""

from dataclasses import dataclass, field

from dcs_common.config import added
from dcs_common.levels import LevelDraw, LevelWeights
from dcs_common.training import TrainingConfig
from dcs_tok.config import DCSTokConfig
from dcs_tok.data import ScaleConfig
from dcs_tok.discriminator import PatchDiscriminatorConfig
from dcs_tok.losses.lpips_network import TrunkName
from dcs_tok.losses.reconstruction import ReconstructionKind


@dataclass(frozen=True, kw_only=True, slots=True)
class LossWeights:
    """The terms of Eq. 6 and the latent denoising of Eq. 7; a weight of 0 leaves a term out.

    Attributes:
        reconstruction: kind of L_recon.
        perceptual: lambda_1.
        perceptual_trunk, perceptual_size: features, and the largest window they look at.
        adversarial: lambda_2; multiplied by the adaptive weight.
        adversarial_start: the step at which it, and the discriminator, begin.
        discriminator: its size.
        lecam: weight of the regulariser of the discriminator.
        margin_weight, margin: lambda_3 and the margin of L2-margin.
        denoise_std: standard deviation of the noise of Eq. 7; 0 for no denoising.
        kl: weight of the divergence of :mod:`dcs_tok.losses.kl`, of a model with ``posterior``.
        rate: kappa of :mod:`dcs_tok.training.rate_term`; beside 0, latents are quantised and the
            logarithm of the rate-distortion cost takes the place of the reconstruction loss.
    """

    reconstruction: ReconstructionKind = "l2"
    perceptual: float = 0.0
    perceptual_trunk: TrunkName = "vgg"
    perceptual_size: int | None = None
    adversarial: float = 0.0
    adversarial_start: int = 0
    discriminator: PatchDiscriminatorConfig = field(default_factory=PatchDiscriminatorConfig)
    lecam: float = 0.001
    margin_weight: float = 0.0
    margin: float = 1.0
    denoise_std: float = 0.0
    rate: float = 0.0
    kl: float = added(0.0)

    def __post_init__(self) -> None:
        for name in (
            *("perceptual", "adversarial", "lecam", "margin_weight", "margin", "rate"),
            "kl",
        ):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"`{name}` must be 0 or more, but is {getattr(self, name)}. 0 leaves it out."
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelSampling:
    """How many levels patches keep in training (:func:`dcs_common.sample_level_map`)."""

    draw: LevelDraw = "stratified"
    weights: LevelWeights = "linear"
    uniform_share: float = 0.0
    full_share: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides a run, but for where its data lies.

    Attributes:
        name: how it is called.
        model: what is trained.
        scales: what is drawn for each step.
        levels: how levels are drawn.
        losses: what is minimised.
        training: how long and how fast.
        grows_levels: may start from a model of fewer levels.
        grows_blocks: may start from a model of fewer residual blocks.
        freezes_encoder: train the decoder alone.
        initial_latent_std: root mean square deviation that ``--init-from`` gives the latents of the
            last level, the others in proportion, without a change of what they decode to
            (:mod:`dcs_tok.training.rescale_latents`); None leaves them as they are.
        starts_from: what ``--init-from`` is expected to be, for the reader.
    """

    name: str
    model: DCSTokConfig
    scales: ScaleConfig
    levels: LevelSampling = field(default_factory=LevelSampling)
    losses: LossWeights = field(default_factory=LossWeights)
    training: TrainingConfig
    grows_levels: bool = False
    grows_blocks: bool = False
    freezes_encoder: bool = False
    initial_latent_std: float | None = None
    starts_from: str = "nothing"

    def __post_init__(self) -> None:
        if self.scales.patch_pixels != self.model.patch_pixels:
            raise ValueError(
                "`patch_pixels` must be one number in a recipe's model and scales, but is "
                f"{self.model.patch_pixels} and {self.scales.patch_pixels}. Change one of them."
            )
        if self.losses.kl and not self.model.posterior:
            raise ValueError(
                f"`kl` must be 0 for a model without `posterior`, but is {self.losses.kl}. "
                "Its latents have no variance to measure."
            )
        if self.model.posterior and (self.losses.rate or self.initial_latent_std is not None):
            raise ValueError(
                "`rate` must be 0 and `initial_latent_std` None for a model with `posterior`, but "
                f"are {self.losses.rate} and {self.initial_latent_std}. Its latents have a "
                "deviation of their own."
            )
