"""The presets are Table 3's rows and DESIGN's nano model; configs refuse what cannot be built."""

from collections import Counter
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from dcs_tok import PRESETS, DCSTok, DCSTokConfig, dcs_tok_b, dcs_tok_nano
from dcs_tok.config import CanonicalConfig, PatchNetworkConfig

from .errors import error
from .tiny_models import paper


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
    assert {name: preset() for name, preset in PRESETS.items()} == {
        "dcs-tok-b": dcs_tok_b(),
        "dcs-tok-nano": dcs_tok_nano(),
    }


def test_configs_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        dcs_tok_nano().num_levels = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["num_levels", "latent_channels", "patches_short_side", "segments_per_second"]
)
def test_sizes_below_one(name: str) -> None:
    with error(f"`{name}` must be at least 1, but is 0."):
        replace(dcs_tok_nano(), **{name: 0})


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
