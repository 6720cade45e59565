"""Evaluation of tokenizers, codecs and generators against protocols, never against a model class.

`evaluate_reconstruction` measures a tokenizer at every level count and scale, `rate_distortion`
any picture codec against those that people use now. Fréchet distances come next.
"""

from importlib.metadata import version

from dcs_common.latents import LATENT_FORMAT
from dcs_eval.curve import Curve, bd_rate
from dcs_eval.lpips_distance import LPIPS
from dcs_eval.mean_interval import MeanInterval
from dcs_eval.metrics import ssim
from dcs_eval.rate_distortion import rate_distortion
from dcs_eval.rate_distortion_record import (
    RATE_DISTORTION_FORMAT,
    MeasuredPicture,
    RateDistortion,
    RatePoint,
)
from dcs_eval.reconstruction import evaluate_reconstruction
from dcs_eval.reconstruction_report import Reconstruction, ReconstructionReport

__version__ = version("dcs-eval")

__all__ = [
    "LATENT_FORMAT",
    "LPIPS",
    "RATE_DISTORTION_FORMAT",
    "Curve",
    "MeanInterval",
    "MeasuredPicture",
    "RateDistortion",
    "RatePoint",
    "Reconstruction",
    "ReconstructionReport",
    "bd_rate",
    "evaluate_reconstruction",
    "rate_distortion",
    "ssim",
]
