"""The level-causal linear path: a floor under the transformer.

    patch (f, h, w, 3) -> canonical (F, g, g, 3) - mean -> encode_weight -> (n, d)
    (m, d) -> decode_weight[:m] -> canonical + mean -> read at the asked times and size

Level i of the code is a linear map of the patch alone and adds its own linear term to the
reconstruction, so any prefix of levels is a code. Started from the Karhunen-Loeve transform
(:mod:`dcs_tok.klt`), whose components ordered by variance are coarse-to-fine already.

A segment of one frame (an image; a clip at k_t frames per second) has nothing to say about time,
and a moving one has: the path keeps a linear code for each. Which one a segment has follows
from the source's frames, rate and phase, which latents carry. A still segment decodes to frames
that repeat.
"""

from fractions import Fraction

import torch
from einops import rearrange
from torch import Tensor, nn

from dcs_tok.canonical_patch import full_precision, temporal_matrices


class LinearCode(nn.Module):
    """Linear encoder and decoder of canonical patches, level by level."""

    def __init__(self, num_levels: int, latent_channels: int, frames: int, grid: int) -> None:
        super().__init__()
        self.frames = frames
        self.grid = grid
        shape = (frames, grid, grid, 3)
        self.mean = nn.Parameter(torch.full(shape, 0.5))
        self.encode_weight = nn.Parameter(torch.empty(num_levels, latent_channels, *shape))
        self.decode_weight = nn.Parameter(torch.empty(num_levels, latent_channels, *shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw an orthonormal code; the decoder is its transpose."""
        if self.encode_weight.is_meta:
            return
        with torch.no_grad():
            flat = self.encode_weight.new_empty(
                self.encode_weight.shape[:2].numel(), self.mean.numel()
            )
            nn.init.orthogonal_(flat)
            self.encode_weight.copy_(flat.view_as(self.encode_weight))
            self.decode_weight.copy_(self.encode_weight)

    def encode(self, canonical: Tensor, levels: int) -> Tensor:
        """Encode canonical patches (p, F, g, g, 3) to latents (p, levels, d)."""
        weight = self.encode_weight[:levels]
        with full_precision(weight):
            bias = -torch.einsum("ndtyxc,tyxc->nd", weight, self.mean)
            flat = rearrange(weight, "n d t y x c -> (n d) (t y x c)")
            code = nn.functional.linear(canonical.flatten(1), flat, bias.flatten())
        return code.view(-1, levels, weight.shape[1])

    def decode(self, latents: Tensor, times: tuple[Fraction, ...]) -> Tensor:
        """Decode latents (p, m, d) to canonical frames read at ``times``: (p, f, g, g, 3)."""
        levels = latents.shape[1]
        weight = rearrange(self.decode_weight[:levels], "n d t y x c -> t (n d) (y x c)")
        mean = self.mean.flatten(1)
        read = temporal_matrices(times, self.frames)[1].to(mean)
        code = latents.flatten(1).to(mean)
        late = len(times) > self.frames  # cheaper to interpolate pictures than weights
        with full_precision(mean):
            if not late:
                weight = torch.einsum("ft,tkj->fkj", read, weight)
                mean = read @ mean
            frames = torch.einsum("pk,fkj->pfj", code, weight) + mean
            if late:
                frames = torch.einsum("ptj,ft->pfj", frames, read)
        return frames.view(len(code), len(times), self.grid, self.grid, 3)


class LinearPath(nn.Module):
    """A linear code for still segments and one for moving ones."""

    def __init__(self, num_levels: int, latent_channels: int, frames: int, grid: int) -> None:
        super().__init__()
        self.still = LinearCode(num_levels, latent_channels, 1, grid)
        self.moving = LinearCode(num_levels, latent_channels, frames, grid)

    def encode(self, canonical: Tensor, levels: int) -> Tensor:
        """Encode canonical patches (p, F or 1, g, g, 3) to latents (p, levels, d).

        One canonical frame means a still segment.
        """
        code = self.still if canonical.shape[1] == 1 else self.moving
        return code.encode(canonical, levels)

    def decode(self, latents: Tensor, times: tuple[Fraction, ...], is_still: bool) -> Tensor:
        """Decode latents (p, m, d) to canonical frames at ``times``: (p, f, g, g, 3).

        Args:
            latents: of segments that are all still or all moving.
            times: in-segment coordinates of the frames that are asked for.
            is_still: whether the source's segments held one frame.
        """
        return (self.still if is_still else self.moving).decode(latents, times)
