"""DCS-Tok: images and clips of any scale as hierarchical latents of fixed size."""

from importlib.metadata import version

from dcs_tok.allocation import allocate_levels
from dcs_tok.compression.codec import decompress
from dcs_tok.compression.compress import compress
from dcs_tok.config import PRESETS, DCSTokConfig, dcs_tok_b, dcs_tok_nano
from dcs_tok.posterior_tokenizer import PosteriorTokenizer
from dcs_tok.tokenizer import DCSTok, DecodingStep

__version__ = version("dcs-tok")

__all__ = [
    "PRESETS",
    "DCSTok",
    "DCSTokConfig",
    "DecodingStep",
    "PosteriorTokenizer",
    "allocate_levels",
    "compress",
    "dcs_tok_b",
    "dcs_tok_nano",
    "decompress",
]
