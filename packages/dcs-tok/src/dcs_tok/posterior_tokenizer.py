"""A tokenizer with variances as caches and evaluation see it: the entry point dcs-tok-posterior."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dcs_common.geometry import Rate
from dcs_common.latents import Latents
from dcs_tok.tokenizer import DCSTok


@dataclass(frozen=True, kw_only=True, slots=True)
class PosteriorConfig:
    """The part of the config that others read.

    Attributes:
        num_levels: n.
        latent_channels: 2 d, a mean and a standard deviation for each channel of the model.
    """

    num_levels: int
    latent_channels: int


class PosteriorTokenizer(nn.Module):
    """Encodes to tokens (b, t, h, w, n, 2 d): the means, then the standard deviations.

    A :class:`dcs_common.protocols.ImageTokenizer`. Its latents carry the model's own fingerprint:
    the model decodes them as well, and both decode the means.

    Args:
        tok: a tokenizer whose config has ``posterior``.

    Raises:
        ValueError: if the tokenizer has no variances.
    """

    def __init__(self, tok: DCSTok) -> None:
        super().__init__()
        if not tok.config.posterior:
            raise ValueError(
                "The tokenizer must have been made with `posterior=True`, but was not. "
                "Take a model that the recipe nano-kl trained."
            )
        self.tok = tok
        self.config = PosteriorConfig(
            num_levels=tok.config.num_levels, latent_channels=2 * tok.config.latent_channels
        )

    @property
    def fingerprint(self) -> str | None:
        """The model's."""
        return self.tok.fingerprint

    @torch.no_grad()
    def encode(
        self,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
    ) -> Latents:
        """Encode as :meth:`dcs_tok.DCSTok.encode`, but deviations as well."""
        return self.tok.latents_of(pixels, fps, levels, patches)

    def decode(
        self,
        latents: Latents,
        size: tuple[int, int] | None = None,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
    ) -> Tensor:
        """Decode the means, as :meth:`dcs_tok.DCSTok.decode`; latents of means alone as well."""
        return self.tok.decode(latents, size, fps, levels)


def load_tokenizer(model: str | None) -> PosteriorTokenizer:
    """Return a tokenizer by folder or hub id.

    Raises:
        ValueError: if there is no such model, it has no variances, or none is named: the models
            that ship have none.
    """
    if model is None:
        raise ValueError(
            "`dcs-tok-posterior` must be given a model, as no bundled one has variances, but got "
            "none. Name the folder that `dcs-tok train nano-kl` wrote."
        )
    return PosteriorTokenizer(DCSTok.from_pretrained(model))
