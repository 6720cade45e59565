"""Tokenizers whose capacity is fixed, or grows with the picture, and whose quality is known."""

from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from dcs_common import Latents


class Pooling:
    """Level m adds what a grid of ``cells * 2^(m-1)`` cells a side knows beyond those before it.

    Args:
        cells: on each side at level 1.
        patch: side of a cell in pixels, in place of a number of cells.
        levels: n.
    """

    def __init__(self, cells: int = 4, *, patch: int | None = None, levels: int = 2) -> None:
        self.config = SimpleNamespace(num_levels=levels, latent_channels=3)
        self._cells, self._patch = cells, patch

    def encode(self, pixels: Tensor, fps=None, levels=None, patches=None) -> Latents:
        side = min(pixels.shape[-2:])
        cells = self._cells if self._patch is None else side // self._patch
        fine = cells * 2 ** (self.config.num_levels - 1)
        assert pixels.shape[-2] == pixels.shape[-1]
        found, rest = [], pixels
        for level in range(self.config.num_levels):
            part = interpolate(adaptive_avg_pool2d(rest, cells * 2**level), (fine, fine))
            rest = rest - interpolate(part, tuple(pixels.shape[-2:]))
            found.append(part.permute(0, 2, 3, 1))
        tokens = torch.stack(found, dim=3)[:, None]
        return Latents(tokens=tokens, size=(pixels.shape[-2], pixels.shape[-1]))

    def decode(self, latents: Latents, size=None, fps=None, levels=None) -> Tensor:
        tokens = latents.tokens[:, 0, :, :, : levels or latents.num_levels]
        return interpolate(tokens.sum(3).permute(0, 3, 1, 2), size or latents.size)


class Offset:
    """One level whose decode is wrong by ``0.1 * (16 / short side)^slope``: PSNR is known.

    It tells its tokens by a method, or not at all, as its latents do not.
    """

    def __init__(self, slope: float = 0.0, tokens: int | None = None) -> None:
        self.config = SimpleNamespace(num_levels=1)
        self._slope = slope
        if tokens is not None:
            self.tokens = lambda size: tokens * min(size)

    def encode(self, pixels: Tensor, fps=None, levels=None, patches=None) -> Tensor:
        return pixels

    def decode(self, latents: Tensor, size=None, fps=None, levels=None) -> Tensor:
        wrong = 0.1 * (16 / min(latents.shape[-2:])) ** self._slope
        return torch.where(latents < 0.5, latents + wrong, latents - wrong)
