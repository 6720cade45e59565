"""Evaluation of tokenizers and generators against protocols, never against a model class.

So far: `evaluate_reconstruction`, the PSNR of a tokenizer at every level count and the agreement
of its decodes at different scales. SSIM, LPIPS, Fréchet distances and rate-distortion come next.
"""

from importlib.metadata import version

from dcs_common.latents import LATENT_FORMAT
from dcs_eval.reconstruction import Reconstruction, ReconstructionReport, evaluate_reconstruction

__version__ = version("dcs-eval")

__all__ = [
    "LATENT_FORMAT",
    "Reconstruction",
    "ReconstructionReport",
    "evaluate_reconstruction",
]
