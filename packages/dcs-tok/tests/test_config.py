"""The presets are Table 3's rows and DESIGN's nano model; configs refuse what cannot be built."""

from collections import Counter
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from dcs_tok import PRESETS, DCSTok, DCSTokConfig, dcs_tok_b, dcs_tok_nano
from dcs_tok.config import (
    CanonicalConfig,
    CanonicalNetworkConfig,
    PatchNetworkConfig,
    dcs_tok_nano_transformer,
)

from .errors import error
from .tiny_models import paper

NETWORK_SIZES = ("width", "blocks", "patch_width", "patch_blocks")


def _on_meta(config: DCSTokConfig) -> DCSTok:
    with torch.device("meta"):
        return DCSTok(config)


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_dcs_tok_b_is_table_3() -> None:
    config = dcs_tok_b()
    assert (config.num_levels, config.latent_channels) == (8, 16)
    assert (config.patches_short_side, config.segments_per_second) == (16, 6)
    for network in (config.patchifier, config.depatchifier):
        assert (network.width, network.heads, network.blocks) == (256, 8, 3)
        assert (network.pixel_attention, network.fourier_features) == ("full", 0)
        assert network.pixel_logit_reference is None
    for trunk in (config.encoder, config.decoder):
        assert (trunk.width, trunk.heads, trunk.blocks) == (768, 12, 12)
        assert not trunk.level_embedding
        assert not trunk.qk_norm
    assert config.pixel_tokens == "source"
    assert config.canonical is None

    tok = _on_meta(config)
    assert 174e6 < _parameters(tok) < 176e6
    assert (tok.encoder.tokens_in.in_features, tok.encoder.tokens_out.out_features) == (256, 16)
    assert (tok.decoder.tokens_in.in_features, tok.decoder.tokens_out.out_features) == (16, 256)
    assert tok.patchifier.pixels_in.in_features == 3
    assert tok.depatchifier.pixels_out.out_features == 3
    hidden = Counter(
        module.out.in_features for module in tok.modules() if type(module).__name__ == "SwiGLU"
    )
    assert hidden == {682: 6, 2048: 24}


def test_the_default_model_is_the_paper_s() -> None:
    with torch.device("meta"):
        assert DCSTok().config == dcs_tok_b()


def test_dcs_tok_nano_is_small_and_has_a_linear_path() -> None:
    config = dcs_tok_nano()
    tok = _on_meta(config)
    assert _parameters(tok) <= 4.1e6
    assert (config.num_levels, config.latent_channels) == (8, 16)
    assert (config.patches_short_side, config.segments_per_second) == (16, 6)
    assert config.pixel_tokens == "canonical"
    assert config.canonical is not None
    assert config.canonical.linear_path
    assert tok.linear_path is not None


def test_presets_go_by_their_names() -> None:
    shared = replace(dcs_tok_nano(), patches_short_side=8)
    assert {name: preset() for name, preset in PRESETS.items()} == {
        "dcs-tok-b": dcs_tok_b(),
        "dcs-tok-nano": dcs_tok_nano(),
        "dcs-tok-nano-transformer": dcs_tok_nano_transformer(),
        "dcs-tok-nano-dcs": shared,
        "dcs-tok-nano-vanilla": replace(shared, num_levels=1, patch_pixels=16),
        "dcs-tok-nano-fixed": replace(shared, num_levels=1),
        "dcs-tok-nano-kl": replace(shared, num_levels=1, posterior=True),
    }


def test_the_nano_presets_differ_in_what_stands_beside_the_linear_path() -> None:
    network, transformer = _on_meta(dcs_tok_nano()), _on_meta(dcs_tok_nano_transformer())
    assert network.encoder is network.patchifier is None
    assert transformer.encoder_networks is transformer.decoder_networks is None
    assert _parameters(transformer) <= 4.1e6


@pytest.mark.parametrize("given", [1, 3])
@pytest.mark.parametrize("linear", [True, False])
def test_transformers_come_together_or_not_at_all(given: int, linear: bool) -> None:
    config = dcs_tok_nano_transformer()
    names = ("patchifier", "depatchifier", "encoder", "decoder")
    message = (
        "`patchifier`, `depatchifier`, `encoder` and `decoder` must all be given, or all be None "
        f"beside a linear path, but {given} are given {'with' if linear else 'without'} a linear "
        "path."
    )
    canonical = replace(config.canonical, linear_path=linear)
    with error(message):
        replace(config, canonical=canonical, **dict.fromkeys(names[given:]))


def test_networks_need_the_linear_path() -> None:
    with error(
        "`linear_path` must be True beside networks over the canonical picture, but is False. "
        "They add to the linear code."
    ):
        replace(dcs_tok_nano().canonical, linear_path=False)


@pytest.mark.parametrize("sizes", [(0, 1, 1, 1), (3, -1, 1, 1), (3, 1, -1, 1), (3, 1, 1, -1)])
def test_sizes_of_canonical_networks(sizes: tuple[int, int, int, int]) -> None:
    with error(
        "`width` must be at least 1 and the other sizes at least 0, but `width`, `blocks`, "
        f"`patch_width` and `patch_blocks` are {sizes}."
    ):
        CanonicalNetworkConfig(**dict(zip(NETWORK_SIZES, sizes, strict=True)))


def test_patch_blocks_need_a_width() -> None:
    with error(
        "`patch_width` must be at least 1 for 2 patch blocks, but is 0. Give a width or no blocks."
    ):
        CanonicalNetworkConfig(width=3, blocks=1, patch_blocks=2)


def test_configs_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        dcs_tok_nano().num_levels = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    "name",
    [
        *("num_levels", "latent_channels", "patches_short_side", "segments_per_second"),
        "patch_pixels",
    ],
)
def test_sizes_below_one(name: str) -> None:
    with error(f"`{name}` must be at least 1, but is 0."):
        replace(dcs_tok_nano(), **{name: 0})


def test_variances_come_from_an_encoder() -> None:
    config = dcs_tok_nano()
    alone = replace(config.canonical, encoder=None)
    message = (
        "`posterior` must be False in a model that is a linear path alone, but is True. "
        "Add an encoder, which the variances come from."
    )
    with error(message):
        replace(config, canonical=alone, posterior=True)


def test_canonical_tokens_without_a_canonical_patch() -> None:
    message = (
        "`canonical` must be given for canonical pixel tokens, but is None. "
        "Add a CanonicalConfig or use pixel_tokens='source'."
    )
    with error(message):
        replace(dcs_tok_nano(), canonical=None)


@pytest.mark.parametrize("sizes", [(4, 16, 5), (0, 16, 4), (4, 0, 1), (4, 16, 0)])
def test_canonical_patches_that_cells_do_not_fill(sizes: tuple[int, int, int]) -> None:
    frames, grid, cell = sizes
    message = (
        "`grid` must be a multiple of `cell` and all sizes at least 1, but frames, grid and cell "
        f"are {sizes}."
    )
    with error(message):
        CanonicalConfig(frames=frames, grid=grid, cell=cell)


def test_widths_that_heads_do_not_divide() -> None:
    network = PatchNetworkConfig(width=16, heads=3, blocks=1)
    with error("`width` must be a multiple of `heads`, but is 16 for 3 heads."):
        DCSTok(replace(paper(), patchifier=network))
