"""What the packages expect of one another's objects."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from dcs_common.geometry import Rate
from dcs_common.latents import Latents


class TokenizerConfig(Protocol):
    """The part of a tokenizer's config that others read."""

    @property
    def num_levels(self) -> int:
        """Levels n."""
        ...

    @property
    def latent_channels(self) -> int:
        """Channels of a token."""
        ...


@runtime_checkable
class ImageTokenizer(Protocol):
    """A tokenizer of pictures (and, where it takes ``fps``, clips) into :class:`Latents`."""

    @property
    def config(self) -> TokenizerConfig:
        """The frozen config."""
        ...

    def encode(
        self,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
    ) -> Latents:
        """Encode pixels (b, 3, H, W) or (b, 3, T, H, W) in [0, 1]."""
        ...

    def decode(
        self,
        latents: Latents,
        size: tuple[int, int] | None = None,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
    ) -> Tensor:
        """Decode to pixels in [0, 1] at any size and rate."""
        ...
