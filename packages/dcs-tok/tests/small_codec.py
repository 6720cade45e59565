"""A small tokenizer with an entropy model, to compress with: no training and nothing bundled."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcs_tok import DCSTok, DCSTokConfig
from dcs_tok.compression.codec import Codec, codec_of
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.compression.entropy_model import EntropyModel
from dcs_tok.compression.level_coding import SymbolCode
from dcs_tok.linear_path import LinearCode

from .tiny_models import fresh, nano, perturbed

Ints = NDArray[np.int64]

LEVELS, CHANNELS, WIDTH, GRID = 3, 16, 6, 4
"""3 x 16 channels are as many as a still canonical patch of 4 x 4 pixels has numbers."""


def linear_config(levels: int = LEVELS, channels: int = CHANNELS) -> DCSTokConfig:
    """Return a tokenizer that is its linear path alone; two segments a second."""
    config = nano()
    canonical = replace(config.canonical, grid=GRID, frames=2, encoder=None, decoder=None)
    return replace(config, num_levels=levels, latent_channels=channels, canonical=canonical)


def give_cosines(code: LinearCode) -> None:
    """Make a code's components cosines over frames, rows, columns and colours, slow ones first."""
    frequencies = [torch.arange(extent) for extent in code.mean.shape]
    basis = torch.ones(1, 1)
    for extent in code.mean.shape:
        at = (torch.arange(extent) + 0.5) / extent
        rows = torch.cos(torch.pi * torch.arange(extent)[:, None] * at)
        basis = torch.kron(basis, rows / rows.norm(dim=1, keepdim=True))
    order = sum(torch.meshgrid(*frequencies, indexing="ij")).flatten().argsort(stable=True)
    with torch.no_grad():
        chosen = basis[order[: code.encode_weight.shape[:2].numel()]]
        code.encode_weight.copy_(chosen.view_as(code.encode_weight))
        code.decode_weight.copy_(code.encode_weight)


def random_context(
    levels: int, channels: int, width: int = WIDTH, seed: int = 0, spread: float = 0.2
) -> ContextNetwork:
    """Return a context network whose every weight is at work."""
    network = ContextNetwork(levels, channels, width)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return network


def save_with_entropy_model(tok: DCSTok, folder: Path, seed: int = 0, spread: float = 0.2) -> Path:
    """Save a tokenizer and a random entropy model for it; return the folder."""
    tok.save_pretrained(folder)
    saved = DCSTok.from_pretrained(folder)
    config = saved.config
    network = random_context(config.num_levels, config.latent_channels, seed=seed, spread=spread)
    EntropyModel.of_network(network, saved).save(folder)
    return folder


def save_small_model(folder: Path) -> Path:
    """Save the tokenizer of cosines; its context network expects small symbols."""
    tok = fresh(linear_config())
    give_cosines(tok.linear_path.still)
    give_cosines(tok.linear_path.moving)
    return save_with_entropy_model(tok, folder, spread=0.05)


@cache
def small_tok() -> DCSTok:
    """Return the tokenizer of cosines, which tests share."""
    with TemporaryDirectory() as folder:
        tok = DCSTok.from_pretrained(save_small_model(Path(folder)))
        codec_of(tok)  # while its folder is there
    return tok


@cache
def tok_with_networks() -> DCSTok:
    """Return a perturbed tokenizer with networks over the canonical picture: 5 levels of 7."""
    with TemporaryDirectory() as folder:
        tok = perturbed(nano(), torch.float32)
        tok = DCSTok.from_pretrained(save_with_entropy_model(tok, Path(folder), seed=1))
        codec_of(tok)
    return tok


def small_codec() -> Codec:
    """Return the codec of the tokenizer of cosines."""
    return codec_of(small_tok())


@cache
def symbol_code(
    levels: int = 3, channels: int = 2, seed: int = 0, spread: float = 0.35
) -> SymbolCode:
    """Return a code of symbols under a random context network."""
    with TemporaryDirectory() as folder:
        fresh(linear_config(levels, channels)).save_pretrained(folder)
        tok = DCSTok.from_pretrained(folder)
    network = random_context(levels, channels, width=10, seed=seed, spread=spread)
    return SymbolCode(EntropyModel.of_network(network, tok))


def waves(height: int, width: int, seed: int = 0) -> Tensor:
    """Return a picture (1, 3, H, W) that has something at every scale, all within [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height) / 7, torch.arange(width) / 9, indexing="ij")
    smooth = torch.stack([(a * x + y).sin() + (x - a * y).cos() for a in (0.3, 0.7, 1.9)])
    noise = torch.rand(smooth.shape, generator=generator) - 0.5
    return (0.5 + 0.15 * smooth + 0.1 * noise).clamp(0, 1).unsqueeze(0)
