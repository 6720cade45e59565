"""A complete description of a training run of the generator."""

from dataclasses import dataclass

from dcs_common.config import added
from dcs_common.levels import LevelWeights
from dcs_common.training import TrainingConfig
from dcs_dit.config import DCSDiTConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides a run, but for where its latents lie.

    What the cached latents decide (grid, labels, tokenizer) is filled into ``model`` when the run
    starts.

    Attributes:
        name: how it is called.
        model: what is trained.
        training: how long and how fast.
        levels: train on the first so many levels alone; None for all of the model's. Level
            causality makes what is learned on few levels serve all of them.
        level_weights: how often a sample keeps m levels, see
            :func:`dcs_common.levels.level_probabilities`.
        direction_weight: of the loss on the velocity's direction.
        label_dropout: share of samples that lose their label.
        text_dropout: share of samples that lose their text.
        starts_from: what ``--init-from`` is expected to be, for the reader.
        condition_noise: deviation of the noise on the normalised base that a residual is given, at
            most; each sample draws its own, from 0 on. In sampling the base is a generated one,
            whose faults a model that only ever saw true ones takes for detail.
    """

    name: str
    model: DCSDiTConfig
    training: TrainingConfig
    levels: int | None = None
    level_weights: LevelWeights = "linear"
    direction_weight: float = 1.0
    label_dropout: float = 0.1
    text_dropout: float = 0.1
    starts_from: str | None = None
    condition_noise: float = added(0.0)

    def __post_init__(self) -> None:
        for name in ("label_dropout", "text_dropout"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"`{name}` must be a share in [0, 1], but is {share}.")
        if self.direction_weight < 0:
            raise ValueError(
                f"`direction_weight` must be 0 or more, but is {self.direction_weight}. "
                "0 leaves that loss out."
            )
        if not 0 <= self.condition_noise < float("inf"):
            raise ValueError(
                f"`condition_noise` must be 0 or more and finite, but is {self.condition_noise}. "
                "0 leaves the base as it is."
            )
        if self.condition_noise and not self.model.condition_channels:
            raise ValueError(
                "`condition_noise` must be 0 for a model that is given no base, but is "
                f"{self.condition_noise}. Only the form 'msf-residual' has one."
            )
        if self.levels is not None and not 1 <= self.levels <= self.model.num_levels:
            raise ValueError(
                f"`levels` must be between 1 and {self.model.num_levels}, but is {self.levels}. "
                f"The model has {self.model.num_levels} levels."
            )
