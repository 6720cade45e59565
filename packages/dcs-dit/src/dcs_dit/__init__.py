"""DCS-DiT: the diffusion transformer over the hierarchical latents of DCS-Tok (Sec. 3.4).

    dit = DCSDiT.from_pretrained()
    latents = sample(dit, labels=["church"], levels=4)
    for step in sample_progressive(dit, labels=["church"]):
        step.level, step.latents

The shape of the noise is the whole request: its grid sets aspect ratio and duration, its levels
quality. Latents decode with the tokenizer that the generator was trained on.
"""

from importlib.metadata import version

from dcs_common.latents import LATENT_FORMAT, Latents
from dcs_dit.config import PRESETS, DCSDiTConfig
from dcs_dit.model import DCSDiT
from dcs_dit.sampling.msf import MSFStep, sample_msf
from dcs_dit.sampling.progressive import GenerationStep, sample_progressive
from dcs_dit.sampling.sample import sample
from dcs_dit.sampling.state import STATE_FORMAT, GenerationState
from dcs_dit.text import TextEncoder, TextStates

__version__ = version("dcs-dit")

__all__ = [
    "LATENT_FORMAT",
    "PRESETS",
    "STATE_FORMAT",
    "DCSDiT",
    "DCSDiTConfig",
    "GenerationState",
    "GenerationStep",
    "Latents",
    "MSFStep",
    "TextEncoder",
    "TextStates",
    "sample",
    "sample_msf",
    "sample_progressive",
]
