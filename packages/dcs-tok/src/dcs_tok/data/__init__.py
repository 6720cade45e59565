"""Training data: pictures and clips as pairs of scales, the same at a step however it is reached.

- :class:`ScaleConfig` says which scales are drawn.
- :class:`PictureAndClipSource` reads folders, zips and files, :class:`ShardSource` WebDataset
  shards; both yield a :class:`TrainingBatch` for each share of a step.
"""

from dcs_tok.data.batch import TrainingBatch
from dcs_tok.data.geometry import ScaleConfig
from dcs_tok.data.loading import LoadingConfig, PictureAndClipSource
from dcs_tok.data.streaming import LaneConfig, ShardSource

__all__ = [
    "LaneConfig",
    "LoadingConfig",
    "PictureAndClipSource",
    "ScaleConfig",
    "ShardSource",
    "TrainingBatch",
]
