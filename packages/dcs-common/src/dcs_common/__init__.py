"""Shared parts of DCS-LDM: latents, geometry, level-causal attention, model folders."""

from importlib.metadata import version

from dcs_common.codec import PictureCodec
from dcs_common.entry_points import codec_names, find_codec, find_tokenizer, tokenizer_names
from dcs_common.geometry import exact_rate, source_grid
from dcs_common.latents import LATENT_FORMAT, Latents
from dcs_common.levels import level_probabilities, sample_level_map
from dcs_common.pretrained import MODEL_FORMAT, PretrainedModel
from dcs_common.protocols import ImageTokenizer
from dcs_common.psnr import psnr
from dcs_common.resample import resize, tail_aligned_frames

__version__ = version("dcs-common")

__all__ = [
    "LATENT_FORMAT",
    "MODEL_FORMAT",
    "ImageTokenizer",
    "Latents",
    "PictureCodec",
    "PretrainedModel",
    "codec_names",
    "exact_rate",
    "find_codec",
    "find_tokenizer",
    "level_probabilities",
    "psnr",
    "resize",
    "sample_level_map",
    "source_grid",
    "tail_aligned_frames",
    "tokenizer_names",
]
