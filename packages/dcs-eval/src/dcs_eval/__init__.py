"""Evaluation of tokenizers, codecs and generators against protocols, never against a model class.

`evaluate_reconstruction` measures a tokenizer at every level count and scale, `rate_distortion`
any picture codec against those that people use now, and `evaluate_generation` pictures that a
generator made against real ones.
"""

from importlib.metadata import version

from dcs_common.latents import LATENT_FORMAT
from dcs_eval.class_shares import ClassShares
from dcs_eval.curve import Curve, bd_rate
from dcs_eval.feature_space import FeatureSpace
from dcs_eval.frechet import FeatureStatistics, frechet_distance
from dcs_eval.generation import evaluate_generation
from dcs_eval.generation_report import GENERATION_FORMAT, GenerationReport
from dcs_eval.generation_rows import Generation, RealPictures
from dcs_eval.lpips_distance import LPIPS
from dcs_eval.mean_interval import MeanInterval
from dcs_eval.metrics import ssim
from dcs_eval.nearest import Nearest, NearestTraining
from dcs_eval.picture_set import PictureSet
from dcs_eval.rate_distortion import rate_distortion
from dcs_eval.rate_distortion_record import (
    RATE_DISTORTION_FORMAT,
    MeasuredPicture,
    RateDistortion,
    RatePoint,
)
from dcs_eval.reconstruction import evaluate_reconstruction
from dcs_eval.reconstruction_report import Reconstruction, ReconstructionReport
from dcs_eval.squeezenet import SqueezeNetFeatures

__version__ = version("dcs-eval")

__all__ = [
    "GENERATION_FORMAT",
    "LATENT_FORMAT",
    "LPIPS",
    "RATE_DISTORTION_FORMAT",
    "ClassShares",
    "Curve",
    "FeatureSpace",
    "FeatureStatistics",
    "Generation",
    "GenerationReport",
    "MeanInterval",
    "MeasuredPicture",
    "Nearest",
    "NearestTraining",
    "PictureSet",
    "RateDistortion",
    "RatePoint",
    "RealPictures",
    "Reconstruction",
    "ReconstructionReport",
    "SqueezeNetFeatures",
    "bd_rate",
    "evaluate_generation",
    "evaluate_reconstruction",
    "frechet_distance",
    "rate_distortion",
    "ssim",
]
