"""Small tokenizers of every kind, with all weights perturbed at random.

A perturbed model has no silent path: a contribution that happens to be zero would pass any test.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from dcs_common.rope import RopeConfig
from dcs_tok import DCSTok, DCSTokConfig, dcs_tok_b, dcs_tok_nano
from dcs_tok.config import (
    CanonicalConfig,
    CanonicalNetworkConfig,
    PatchNetworkConfig,
    TrunkConfig,
    dcs_tok_nano_transformer,
)

LEVELS, CHANNELS, PATCHES, SEGMENTS_PER_SECOND = 5, 7, 3, 2
ROPE = RopeConfig(spatial_steps=8, segment_horizon=4)


def _small(config: DCSTokConfig) -> DCSTokConfig:
    """Keep what kind of model it is; change sizes only."""
    config = replace(
        config,
        num_levels=LEVELS,
        latent_channels=CHANNELS,
        patches_short_side=PATCHES,
        segments_per_second=SEGMENTS_PER_SECOND,
    )
    if config.encoder is None:
        return config
    return replace(
        config,
        patchifier=replace(config.patchifier, width=16, heads=2),
        depatchifier=replace(config.depatchifier, width=24, heads=3),
        encoder=replace(config.encoder, width=24, heads=2, blocks=2),
        decoder=replace(config.decoder, width=20, heads=2, blocks=2),
    )


def paper() -> DCSTokConfig:
    """Table 3's kind: a token for every source pixel, full attention, rotary positions only."""
    return _small(dcs_tok_b())


def nano() -> DCSTokConfig:
    """The nano preset's kind: the linear path and networks over the canonical picture."""
    small = _small(dcs_tok_nano())
    canonical = replace(
        small.canonical,
        frames=3,
        grid=4,
        cell=2,
        encoder=CanonicalNetworkConfig(width=5, blocks=1, patch_width=7, patch_blocks=1),
        decoder=CanonicalNetworkConfig(width=6, blocks=1, patch_width=5, patch_blocks=1),
    )
    return replace(small, canonical=canonical)


def nano_transformer() -> DCSTokConfig:
    """Cells of the canonical patch in a transformer beside a linear path, Fourier features."""
    small = _small(dcs_tok_nano_transformer())
    return replace(small, canonical=replace(small.canonical, frames=3, grid=4, cell=2))


def own_pixels() -> DCSTokConfig:
    """Pixels that attend to themselves alone, a dilution reference, query and key norms."""
    network = PatchNetworkConfig(
        width=20,
        heads=2,
        blocks=2,
        pixel_attention="self",
        fourier_features=2,
        pixel_logit_reference=11,
    )
    trunk = TrunkConfig(width=24, heads=3, blocks=2, level_embedding=True, qk_norm=True)
    return _plain(network, trunk)


def beside_linear() -> DCSTokConfig:
    """Source pixel tokens beside the linear path; patch networks of a single block."""
    network = PatchNetworkConfig(width=16, heads=2, blocks=1, pixel_logit_reference=13)
    canonical = CanonicalConfig(frames=2, grid=5)
    return replace(_plain(network, TrunkConfig(width=20, heads=2, blocks=1)), canonical=canonical)


def cells_alone() -> DCSTokConfig:
    """Cells of the canonical patch without a linear path."""
    canonical = CanonicalConfig(frames=2, grid=6, cell=2, linear_path=False)
    return replace(nano_transformer(), canonical=canonical)


def _plain(network: PatchNetworkConfig, trunk: TrunkConfig) -> DCSTokConfig:
    return DCSTokConfig(
        num_levels=LEVELS,
        latent_channels=CHANNELS,
        patches_short_side=PATCHES,
        segments_per_second=SEGMENTS_PER_SECOND,
        patchifier=network,
        depatchifier=network,
        encoder=trunk,
        decoder=trunk,
        patch_rope=ROPE,
        trunk_rope=ROPE,
    )


CONFIGS: dict[str, Callable[[], DCSTokConfig]] = {
    function.__name__: function
    for function in (paper, nano, nano_transformer, own_pixels, beside_linear, cells_alone)
}
NAMES = sorted(CONFIGS)
TRANSFORMERS = [name for name in NAMES if CONFIGS[name]().encoder is not None]


def fresh(config: DCSTokConfig, seed: int = 0) -> DCSTok:
    """Build a model as a user gets it before training; the same one for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DCSTok(config)


def perturbed(config: DCSTokConfig, dtype: torch.dtype = torch.float64, seed: int = 0) -> DCSTok:
    """Build a model in eval mode and add noise to every weight."""
    tok = fresh(config, seed).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tok.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.1 * noise.to(dtype))
    return tok


@lru_cache
def model(name: str, dtype: torch.dtype = torch.float64) -> DCSTok:
    """A perturbed model that tests share and leave as it is."""
    return perturbed(CONFIGS[name](), dtype)


def random_pixels(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Draw pixels in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


def random_levels(*shape: int, seed: int = 0, high: int = LEVELS) -> Tensor:
    """Draw a level map with every count from 1 to ``high`` equally likely."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, high + 1, shape, generator=generator)
