"""The tokenizer's frozen config and its presets (Table 3)."""

from dataclasses import dataclass, replace
from typing import Literal

from dcs_common.attention import PixelAttention
from dcs_common.config import added
from dcs_common.geometry import patches_of_side
from dcs_common.rope import RopeConfig

PixelTokens = Literal["source", "canonical"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchNetworkConfig:
    """Patchifier or depatchifier: transformer blocks inside one patch (Fig. 4a).

    Attributes:
        width, heads, blocks: of the transformer.
        pixel_attention: what pixel tokens attend to among themselves: all of them ("full", the
            paper) or only themselves ("self", linear in the number of pixels).
        fourier_features: octaves of in-patch coordinates added to pixel tokens; 0 (the paper)
            leaves the rotary embedding as the only sign of a pixel's place.
        pixel_logit_reference: P_ref of the bias ``-log(P / P_ref)`` on pixel keys, against the
            dilution of a few latent keys among P pixel keys; None (the paper) for no bias.
    """

    width: int
    heads: int
    blocks: int
    pixel_attention: PixelAttention = "full"
    fourier_features: int = 0
    pixel_logit_reference: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkConfig:
    """Encoder or decoder: level-causal transformer blocks across patches (Fig. 4b).

    Attributes:
        width, heads, blocks: of the transformer.
        level_embedding: add a learned vector per level to the tokens that enter; off in the
            paper, where the rotary embedding alone tells levels apart.
        qk_norm: normalise queries and keys.
    """

    width: int
    heads: int
    blocks: int
    level_embedding: bool = False
    qk_norm: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CanonicalNetworkConfig:
    """A convolutional network over the canonical picture (:mod:`dcs_tok.canonical_network`).

    Attributes:
        width, blocks: channels and residual blocks at the resolution of cells.
        patch_width, patch_blocks: the same at the resolution of patches, before them.
    """

    width: int
    blocks: int
    patch_width: int = 0
    patch_blocks: int = 0

    def __post_init__(self) -> None:
        if self.width < 1 or min(self.blocks, self.patch_width, self.patch_blocks) < 0:
            raise ValueError(
                "`width` must be at least 1 and the other sizes at least 0, but `width`, `blocks`, "
                "`patch_width` and `patch_blocks` are "
                f"{(self.width, self.blocks, self.patch_width, self.patch_blocks)}."
            )
        if self.patch_blocks and not self.patch_width:
            raise ValueError(
                f"`patch_width` must be at least 1 for {self.patch_blocks} patch blocks, but is 0. "
                "Give a width or no blocks."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class CanonicalConfig:
    """The canonical patch (:mod:`dcs_tok.canonical_patch`).

    Attributes:
        frames, grid: F and g.
        cell: pixel tokens and the cells of the networks hold ``cell x cell`` canonical pixels.
        linear_path: carry the linear code of :mod:`dcs_tok.linear_path`; transformer and networks
            then add to it and start as an exact zero.
        encoder, decoder: networks over the canonical picture; they need the linear path.
    """

    frames: int
    grid: int
    cell: int = 1
    linear_path: bool = True
    encoder: CanonicalNetworkConfig | None = None
    decoder: CanonicalNetworkConfig | None = None

    def __post_init__(self) -> None:
        if min(self.frames, self.grid, self.cell) < 1 or self.grid % self.cell:
            raise ValueError(
                "`grid` must be a multiple of `cell` and all sizes at least 1, but frames, grid "
                f"and cell are {(self.frames, self.grid, self.cell)}."
            )
        if not self.linear_path and (self.encoder or self.decoder):
            raise ValueError(
                "`linear_path` must be True beside networks over the canonical picture, but is "
                "False. They add to the linear code."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DCSTokConfig:
    """Everything that decides a tokenizer's architecture.

    Attributes:
        num_levels: n.
        latent_channels: channels d of a latent token.
        patches_short_side: k, the default number of patches along the short side.
        segments_per_second: k_t for clips.
        patchifier, depatchifier, encoder, decoder: the four transformers (the paper), or None for
            all four in a model that is the linear path and its networks alone.
        pixel_tokens: "source", one token for every pixel of the patch (the paper), or
            "canonical", tokens of the canonical patch, so that cost does not grow with pixels
            beyond the resampling.
        canonical: the canonical patch, needed for canonical pixel tokens or the linear path.
        patch_rope, trunk_rope: rotary frequencies inside and across patches.
        patch_pixels: side of a patch in pixels of the source, for a vanilla tokenizer whose tokens
            grow with the scale (Fig. 1): k then follows from the size and takes the place of
            ``patches_short_side``. None (the paper) for one k at every scale.
        posterior: encode a mean and a variance for each latent, as a variational autoencoder does
            (:mod:`dcs_tok.posterior`); False (the paper) for latents without chance.
    """

    num_levels: int = 8
    latent_channels: int = 16
    patches_short_side: int = 16
    segments_per_second: int = 6
    patchifier: PatchNetworkConfig | None
    depatchifier: PatchNetworkConfig | None
    encoder: TrunkConfig | None
    decoder: TrunkConfig | None
    pixel_tokens: PixelTokens = "source"
    canonical: CanonicalConfig | None = None
    patch_rope: RopeConfig
    trunk_rope: RopeConfig
    patch_pixels: int | None = added(None)
    posterior: bool = added(False)

    def __post_init__(self) -> None:
        sizes = {
            "num_levels": self.num_levels,
            "latent_channels": self.latent_channels,
            "patches_short_side": self.patches_short_side,
            "segments_per_second": self.segments_per_second,
        }
        if self.patch_pixels is not None:
            sizes["patch_pixels"] = self.patch_pixels
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {size}.")
        if self.pixel_tokens == "canonical" and self.canonical is None:
            raise ValueError(
                "`canonical` must be given for canonical pixel tokens, but is None. "
                "Add a CanonicalConfig or use pixel_tokens='source'."
            )
        transformers = (self.patchifier, self.depatchifier, self.encoder, self.decoder)
        present = sum(part is not None for part in transformers)
        has_code = self.canonical is not None and self.canonical.linear_path
        if present not in (0, 4) or (not present and not has_code):
            raise ValueError(
                "`patchifier`, `depatchifier`, `encoder` and `decoder` must all be given, or all "
                f"be None beside a linear path, but {present} are given "
                f"{'with' if has_code else 'without'} a linear path."
            )
        has_network = self.canonical is not None and self.canonical.encoder is not None
        if self.posterior and not (present or has_network):
            raise ValueError(
                "`posterior` must be False in a model that is a linear path alone, but is True. "
                "Add an encoder, which the variances come from."
            )

    @property
    def encoder_channels(self) -> int:
        """Channels that an encoder writes: d, or 2 d with a variance for each."""
        return 2 * self.latent_channels if self.posterior else self.latent_channels

    def patches_of(self, size: tuple[int, int]) -> int:
        """Return k, the patches along the short side, that pixels of ``size`` get by default."""
        if self.patch_pixels is None:
            return self.patches_short_side
        return patches_of_side(min(size), self.patch_pixels)


def dcs_tok_b() -> DCSTokConfig:
    """DCS-Tok as in Table 3: about 175 million parameters."""
    patch_network = PatchNetworkConfig(width=256, heads=8, blocks=3)
    trunk = TrunkConfig(width=768, heads=12, blocks=12)
    return DCSTokConfig(
        patchifier=patch_network,
        depatchifier=patch_network,
        encoder=trunk,
        decoder=trunk,
        # The finest patch of the paper's training has 45 pixels a side (720 px) and 10 frames.
        patch_rope=RopeConfig(spatial_steps=45, segment_horizon=1, segment_step=0.1),
        trunk_rope=RopeConfig(spatial_steps=16, segment_horizon=60),
    )


def dcs_tok_nano() -> DCSTokConfig:
    """The small model that ships with weights: a linear path and convolutional networks."""
    return DCSTokConfig(
        patchifier=None,
        depatchifier=None,
        encoder=None,
        decoder=None,
        pixel_tokens="canonical",
        canonical=CanonicalConfig(
            frames=4,
            grid=16,
            cell=4,
            encoder=CanonicalNetworkConfig(width=32, blocks=2, patch_width=96, patch_blocks=2),
            decoder=CanonicalNetworkConfig(width=48, blocks=4, patch_width=96, patch_blocks=2),
        ),
        patch_rope=RopeConfig(spatial_steps=4, segment_horizon=1, segment_step=0.25),
        trunk_rope=RopeConfig(spatial_steps=64, segment_horizon=60),
    )


def dcs_tok_nano_transformer() -> DCSTokConfig:
    """A linear path beside a small transformer of the paper's kind; ships without weights."""
    patch_network = PatchNetworkConfig(width=64, heads=2, blocks=2, fourier_features=3)
    return DCSTokConfig(
        patchifier=patch_network,
        depatchifier=patch_network,
        encoder=TrunkConfig(width=192, heads=6, blocks=2, level_embedding=True),
        decoder=TrunkConfig(width=192, heads=6, blocks=4, level_embedding=True),
        pixel_tokens="canonical",
        canonical=CanonicalConfig(frames=4, grid=16, cell=4),
        patch_rope=RopeConfig(spatial_steps=4, segment_horizon=1, segment_step=0.25),
        trunk_rope=RopeConfig(spatial_steps=64, segment_horizon=60),
    )


def dcs_tok_nano_dcs() -> DCSTokConfig:
    """The nano networks over 8 x 8 patches: what the three rivals below are compared with."""
    return replace(dcs_tok_nano(), patches_short_side=8)


def dcs_tok_nano_vanilla() -> DCSTokConfig:
    """Rival: a vanilla tokenizer (Fig. 1), one level of patches of 16 pixels at every scale."""
    return replace(dcs_tok_nano_dcs(), num_levels=1, patch_pixels=16)


def dcs_tok_nano_fixed() -> DCSTokConfig:
    """Rival: a fixed capacity (Fig. 1), one level of 8 x 8 patches at every scale."""
    return replace(dcs_tok_nano_dcs(), num_levels=1)


def dcs_tok_nano_kl() -> DCSTokConfig:
    """Rival: the fixed capacity as a variational autoencoder, as latent diffusion models use."""
    return replace(dcs_tok_nano_fixed(), posterior=True)


PRESETS = {
    "dcs-tok-b": dcs_tok_b,
    "dcs-tok-nano": dcs_tok_nano,
    "dcs-tok-nano-transformer": dcs_tok_nano_transformer,
    "dcs-tok-nano-dcs": dcs_tok_nano_dcs,
    "dcs-tok-nano-vanilla": dcs_tok_nano_vanilla,
    "dcs-tok-nano-fixed": dcs_tok_nano_fixed,
    "dcs-tok-nano-kl": dcs_tok_nano_kl,
}
