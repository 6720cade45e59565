"""Latents to train from: the cache on the disk, how it is made, and batches from it."""

from dcs_dit.data.cache_config import CacheConfig
from dcs_dit.data.caching import CacheResult, LatentCaching
from dcs_dit.data.labelled_pictures import LabelledPicture, PictureSet, find_labelled_pictures
from dcs_dit.data.latent_cache import LatentCache
from dcs_dit.data.latent_moments import LatentStatistics
from dcs_dit.data.source import LatentBatch, LatentSource

__all__ = [
    "CacheConfig",
    "CacheResult",
    "LabelledPicture",
    "LatentBatch",
    "LatentCache",
    "LatentCaching",
    "LatentSource",
    "LatentStatistics",
    "PictureSet",
    "find_labelled_pictures",
]
