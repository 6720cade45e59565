"""The generator's frozen config and its presets (Table 3)."""

from dataclasses import dataclass
from typing import Literal, get_args

from dcs_common.config import added
from dcs_common.rope import RopeConfig

LatentForm = Literal[
    "plain",
    "posterior-sample",
    "posterior-mean",
    "posterior-mean-std",
    "msf-base",
    "msf-residual",
]
"""What a generator is given of latents; :mod:`dcs_dit.data.latent_form` says what each is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DCSDiTConfig:
    """What a DCS-DiT is and what it generates.

    Attributes:
        width, heads, blocks: of the transformer.
        num_levels: levels n that it has weights for.
        trained_levels: how many of them training has shown it; None for all.
        latent_channels: channels c of a token, as the generator makes it.
        grid: (segments, rows, columns) that it was trained on; the default of sampling. Any other
            grid may be asked for.
        patch_pixels: pixels a side of a patch of the pictures that it was trained on, which gives
            generated latents their default size.
        fps: frame rate of the clips that it was trained on; None for pictures.
        segments_per_second: k_t of the tokenizer.
        labels: names of the classes; empty without class conditioning.
        text_width: width of the text states for cross-attention; None for no text.
        text_encoder: name of the encoder that it was trained with, for people and commands.
        text_fingerprint: names that encoder's weights; None where it has none.
        qk_norm: normalise queries and keys, the known remedy where a long run diverges; off in
            the paper's lineage, where it costs some quality.
        modulation_rank: width of a bottleneck in the layer that modulates a block; None (adaLN-zero
            as in DiT) for a full matrix.
        has_unconditional: whether it can do without label and text, as guidance needs; it learned
            to where training dropped them.
        guidance_scale: the default of sampling; 6 in the paper.
        rope: frequencies of the rotary embedding.
        tokenizer: fingerprint of the tokenizer whose latents it generates; None before training.
        tokenizer_model: that tokenizer's name, folder or hub id, for people and commands.
        latent_form: what it is given of that tokenizer's latents.
        condition_channels: of clean tokens that stand beside the noised ones; those of the base
            for "msf-residual", 0 for all else.
    """

    width: int
    heads: int
    blocks: int
    num_levels: int = 4
    trained_levels: int | None = None
    latent_channels: int = 16
    grid: tuple[int, int, int] = (1, 16, 16)
    patch_pixels: int = 16
    fps: int | None = None
    segments_per_second: int = 6
    labels: tuple[str, ...] = ()
    text_width: int | None = None
    text_encoder: str | None = None
    text_fingerprint: str | None = None
    qk_norm: bool = False
    modulation_rank: int | None = None
    has_unconditional: bool = True
    guidance_scale: float = 6.0
    rope: RopeConfig = RopeConfig(spatial_steps=16, segment_horizon=60)  # noqa: RUF009 - frozen
    tokenizer: str | None = None
    tokenizer_model: str | None = None
    latent_form: LatentForm = added("plain")  # noqa: RUF009 - a field
    condition_channels: int = added(0)

    def __post_init__(self) -> None:
        counts = {
            name: getattr(self, name)
            for name in (
                *("width", "heads", "blocks", "num_levels", "latent_channels", "patch_pixels"),
                *("segments_per_second", "trained_levels", "text_width", "modulation_rank", "fps"),
            )
        }
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {count}.")
        if self.width % (2 * self.heads):
            raise ValueError(
                "`width` must be a multiple of twice `heads`, since the rotary embedding turns "
                f"pairs of channels, but is {self.width} for {self.heads} heads."
            )
        if len(self.grid) != 3 or min(self.grid) < 1:
            raise ValueError(
                "`grid` must be (segments, rows, columns), each at least 1, but is "
                f"{self.grid}. A picture has one segment."
            )
        if self.grid[0] > 1 and self.fps is None:
            raise ValueError(
                f"`fps` must be given for a grid of {self.grid[0]} segments, but is None. "
                "Give the frame rate of the clips."
            )
        if self.fps is not None and self.fps < self.segments_per_second:
            raise ValueError(
                f"`fps` must be at least `segments_per_second`, {self.segments_per_second}, but is "
                f"{self.fps}: each segment holds a frame."
            )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"`labels` must be distinct, but are {list(self.labels)}.")
        if not 0 <= self.guidance_scale < float("inf"):
            raise ValueError(
                f"`guidance_scale` must be 0 or more and finite, but is {self.guidance_scale}. "
                "1 is no guidance."
            )
        if self.latent_form not in get_args(LatentForm):
            raise ValueError(
                f"`latent_form` must be one of {', '.join(get_args(LatentForm))}, but is "
                f"{self.latent_form!r}."
            )
        beside = self.latent_channels if self.latent_form == "msf-residual" else 0
        if self.condition_channels != beside:
            raise ValueError(
                f"`condition_channels` must be {beside} for the form {self.latent_form!r} of "
                f"{self.latent_channels} channels, but is {self.condition_channels}. A residual "
                "stands beside its base, and nothing else does."
            )


def dcs_dit_xl() -> DCSDiTConfig:
    """DCS-DiT as in Table 3; the text of Sec. 4.1 says 24 blocks, which is ``blocks=24``."""
    return DCSDiTConfig(width=1152, heads=16, blocks=28)


def dcs_dit_b() -> DCSDiTConfig:
    """The size called B in this family of models."""
    return DCSDiTConfig(width=768, heads=12, blocks=12)


def dcs_dit_s() -> DCSDiTConfig:
    """The size called S in this family of models."""
    return DCSDiTConfig(width=384, heads=6, blocks=12)


def dcs_dit_nano() -> DCSDiTConfig:
    """The small model that ships with weights: 128 px pictures of 4 x 4 patches, 6 levels.

    Few patches and more levels: the first level is 16 tokens, which so small a model learns, and
    later ones add what the coarse patches lack.
    """
    return DCSDiTConfig(
        width=256,
        heads=8,
        blocks=6,
        num_levels=6,
        grid=(1, 4, 4),
        patch_pixels=32,
        qk_norm=True,
        modulation_rank=64,
    )


PRESETS = {
    "dcs-dit-xl": dcs_dit_xl,
    "dcs-dit-b": dcs_dit_b,
    "dcs-dit-s": dcs_dit_s,
    "dcs-dit-nano": dcs_dit_nano,
}
