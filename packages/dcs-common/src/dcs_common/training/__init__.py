"""One training loop for tokenizer and generator: :func:`train`."""

from dcs_common.training.checkpoint import CHECKPOINT_FORMAT, CheckpointError
from dcs_common.training.config import OptimizerConfig, TrainingConfig
from dcs_common.training.distributed import World, joined_world
from dcs_common.training.divergence import TrainingDiverged
from dcs_common.training.loop import TrainingResult, train
from dcs_common.training.seeds import sample_generators, seeded_generator
from dcs_common.training.task import Batch, BatchSource, NamesBlocks, Share, TrainingTask

__all__ = [
    "CHECKPOINT_FORMAT",
    "Batch",
    "BatchSource",
    "CheckpointError",
    "NamesBlocks",
    "OptimizerConfig",
    "Share",
    "TrainingConfig",
    "TrainingDiverged",
    "TrainingResult",
    "TrainingTask",
    "World",
    "joined_world",
    "sample_generators",
    "seeded_generator",
    "train",
]
