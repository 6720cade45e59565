"""Evaluation of tokenizers, codecs and generators against protocols, never against a model class.

`evaluate_reconstruction` measures a tokenizer at every level count and scale, `rate_distortion`
any picture codec against those that people use now, and `evaluate_generation` pictures that a
generator made against real ones; `compare_tokenizers` and `compare_generators` put several side
by side, and `PROTOCOLS` holds what published figures rest on.
"""

from importlib.metadata import version

from dcs_common.latents import LATENT_FORMAT
from dcs_eval.adapters.diffusers_autoencoder import DiffusersAutoencoder
from dcs_eval.adapters.function_tokenizer import FunctionTokenizer
from dcs_eval.class_shares import ClassShares
from dcs_eval.comparison.generator_comparison import GeneratorComparison
from dcs_eval.comparison.generators import compare_generators
from dcs_eval.comparison.sampling_times import SamplingTimes
from dcs_eval.comparison.tokenizer_comparison import TokenizerComparison
from dcs_eval.comparison.tokenizers import compare_tokenizers
from dcs_eval.curve import Curve, bd_rate
from dcs_eval.distribution.frechet import FeatureStatistics, frechet_distance
from dcs_eval.distribution.inception_score import InceptionScore, inception_score
from dcs_eval.distribution.kernel_distance import KernelDistance, kernel_distance
from dcs_eval.distribution.precision_recall import PrecisionRecall, precision_recall
from dcs_eval.distribution.reference_statistics import (
    AdmReference,
    ReferenceStatistics,
    read_adm_reference,
)
from dcs_eval.features.feature_files import Extraction, FeatureFiles, extract
from dcs_eval.features.feature_space import ClassifyingSpace, FeatureSpace, SpatialSpace
from dcs_eval.features.i3d import I3DFeatures
from dcs_eval.features.inception import InceptionFeatures
from dcs_eval.features.spatial_inception import SpatialInceptionFeatures
from dcs_eval.features.squeezenet import SqueezeNetFeatures
from dcs_eval.generation import evaluate_generation
from dcs_eval.generation_report import GENERATION_FORMAT, GenerationReport
from dcs_eval.generation_rows import Generation, RealPictures
from dcs_eval.levels_needed import LevelsNeeded, levels_needed
from dcs_eval.lpips_distance import LPIPS
from dcs_eval.mean_interval import MeanInterval
from dcs_eval.measuring import measure_all, measure_each
from dcs_eval.metrics import ssim
from dcs_eval.nearest import Nearest, NearestTraining
from dcs_eval.picture_set import PictureSet
from dcs_eval.protocols.presets import PROTOCOLS, find_protocol
from dcs_eval.protocols.protocol import Protocol
from dcs_eval.rate_distortion import rate_distortion
from dcs_eval.rate_distortion_record import (
    RATE_DISTORTION_FORMAT,
    MeasuredPicture,
    RateDistortion,
    RatePoint,
)
from dcs_eval.reconstruction import evaluate_reconstruction
from dcs_eval.reconstruction_report import Reconstruction, ReconstructionReport
from dcs_eval.tokenizer_floor import TokenizedPictures, TokenizerFloor

__version__ = version("dcs-eval")

__all__ = [
    "GENERATION_FORMAT",
    "LATENT_FORMAT",
    "LPIPS",
    "PROTOCOLS",
    "RATE_DISTORTION_FORMAT",
    "AdmReference",
    "ClassShares",
    "ClassifyingSpace",
    "Curve",
    "DiffusersAutoencoder",
    "Extraction",
    "FeatureFiles",
    "FeatureSpace",
    "FeatureStatistics",
    "FunctionTokenizer",
    "Generation",
    "GenerationReport",
    "GeneratorComparison",
    "I3DFeatures",
    "InceptionFeatures",
    "InceptionScore",
    "KernelDistance",
    "LevelsNeeded",
    "MeanInterval",
    "MeasuredPicture",
    "Nearest",
    "NearestTraining",
    "PictureSet",
    "PrecisionRecall",
    "Protocol",
    "RateDistortion",
    "RatePoint",
    "RealPictures",
    "Reconstruction",
    "ReconstructionReport",
    "ReferenceStatistics",
    "SamplingTimes",
    "SpatialInceptionFeatures",
    "SpatialSpace",
    "SqueezeNetFeatures",
    "TokenizedPictures",
    "TokenizerComparison",
    "TokenizerFloor",
    "bd_rate",
    "compare_generators",
    "compare_tokenizers",
    "evaluate_generation",
    "evaluate_reconstruction",
    "extract",
    "find_protocol",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "levels_needed",
    "measure_all",
    "measure_each",
    "precision_recall",
    "rate_distortion",
    "read_adm_reference",
    "ssim",
]
