"""The patchifier: pixels of one patch into n latent tokens (Sec. 3.2, Fig. 4a).

    pixels (p, P, c) -> linear --+--> [pixels, latents] -> blocks with PLA -> latents (p, m, width)
    learned latent tokens [:m] --+

The last block hands on latent tokens only, so there pixels give keys and values and nothing else.
"""

import torch
from torch import Tensor, nn

from dcs_common.attention import pixel_logit_bias, pixel_to_latent_attention
from dcs_common.blocks import Blocks
from dcs_common.norms import RMSNorm
from dcs_common.positions import level_coordinates
from dcs_common.rope import GroupedRope, RopeConfig, rotate
from dcs_tok.config import PatchNetworkConfig
from dcs_tok.patch_block import PatchBlock
from dcs_tok.pixel_position import FourierFeatures, patch_rotation


class Patchifier(nn.Module):
    """Transformer over the pixels and latent tokens of single patches."""

    def __init__(
        self, config: PatchNetworkConfig, rope: RopeConfig, in_channels: int, num_levels: int
    ) -> None:
        super().__init__()
        self.config = config
        self.pixels_in = nn.Linear(in_channels, config.width)
        self.features = (
            FourierFeatures(config.width, config.fourier_features)
            if config.fourier_features
            else None
        )
        self.latent_tokens = nn.Parameter(torch.empty(num_levels, config.width))
        nn.init.uniform_(self.latent_tokens, -0.035, 0.035)
        self.blocks: Blocks[PatchBlock] = Blocks(
            PatchBlock(config.width, config.heads) for _ in range(config.blocks)
        )
        self.rope = GroupedRope(config.width // config.heads, rope)
        self.norm = RMSNorm(config.width)

    def embed(self, pixels: Tensor, coordinates: Tensor, levels: int) -> Tensor:
        """Return the tokens (p, P + levels, width) that enter the first block.

        Args:
            pixels: (p, P, c) with values around 0.
            coordinates: (P, 4) of the pixels.
            levels: latent tokens to compute.
        """
        tokens = self.pixels_in(pixels)
        if self.features is not None:
            tokens = tokens + self.features(coordinates)
        latents = self.latent_tokens[:levels].to(tokens).expand(len(pixels), -1, -1)
        return torch.cat([tokens, latents], dim=1)

    def forward(self, pixels: Tensor, coordinates: Tensor, levels: int) -> Tensor:
        """Return latent tokens (p, levels, width); arguments as for :meth:`embed`."""
        x = self.embed(pixels, coordinates, levels)
        count = pixels.shape[1]
        _, rotation = patch_rotation(self.rope, coordinates, level_coordinates(levels), x)
        bias = pixel_logit_bias(count, self.config.pixel_logit_reference)
        for i, block in enumerate(self.blocks):
            last = i == len(self.blocks) - 1
            normed = block.attention_norm(x)
            key, value = block.keys_values(normed)
            if last:
                x, normed = x[:, count:], normed[:, count:]
            query_rotation = rotation.slice(count, count + levels) if last else rotation
            attended = pixel_to_latent_attention(
                rotate(block.queries(normed), query_rotation),
                rotate(key, rotation),
                value,
                count,
                pixels=self.config.pixel_attention,
                bias=bias,
                latents_only=last,
            )
            x = block.finish(x, attended)
        return self.norm(x)
