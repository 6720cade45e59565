"""The depatchifier: latent tokens of one patch into its pixels at any size (Sec. 3.2, Fig. 4a).

    latents (p, m, width) -------+--> [pixels, latents] -> blocks with LPA -> pixels -> linear
    one learned pixel token -----+    (p, P, c)

Before the first block every patch has the same pixel tokens, so their queries, keys, values and
the attention among them are computed once per patch shape (:class:`PixelQueries`) and merged
with each patch's latents. The last block hands on pixels only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dcs_common.attention import (
    attend_with_summary,
    attention_summary,
    causal_latent_attention,
    latent_to_pixel_attention,
    pixel_logit_bias,
)
from dcs_common.blocks import Blocks
from dcs_common.compiled_method import WithCompiledMethod
from dcs_common.norms import RMSNorm
from dcs_common.positions import level_coordinates
from dcs_common.recompute import call
from dcs_common.rope import GroupedRope, RopeConfig, Rotation, rotate
from dcs_tok.config import PatchNetworkConfig
from dcs_tok.patch_block import PatchBlock
from dcs_tok.pixel_position import FourierFeatures, patch_rotation


@dataclass(frozen=True, slots=True)
class PixelQueries:
    """What all patches of one shape share before their latents are known.

    Attributes:
        tokens: (1, P, width) entering the first block.
        query: (1, P, heads, head_dim), rotated.
        logit, summary: log-sum-exp (1, P, heads) and output (1, P, heads, head_dim) of the
            attention among pixels in the first block.
        rotation: of P + n tokens.
    """

    tokens: Tensor
    query: Tensor
    logit: Tensor
    summary: Tensor
    rotation: Rotation


class Depatchifier(WithCompiledMethod):
    """Transformer over the latent tokens and pixel queries of single patches.

    All before the last layer can be compiled. The last layer's gradient is asked for alone
    (:meth:`forward`): within, a compiled backward pass would compute every other with it.
    """

    compiled_method = "_features"

    def __init__(
        self,
        config: PatchNetworkConfig,
        rope: RopeConfig,
        in_channels: int,
        out_channels: int,
        num_levels: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_levels = num_levels
        self.latents_in = (
            nn.Linear(in_channels, config.width) if in_channels != config.width else nn.Identity()
        )
        self.pixel_token = nn.Parameter(torch.empty(config.width))
        nn.init.uniform_(self.pixel_token, -0.035, 0.035)
        self.features = (
            FourierFeatures(config.width, config.fourier_features)
            if config.fourier_features
            else None
        )
        self.blocks: Blocks[PatchBlock] = Blocks(
            PatchBlock(config.width, config.heads) for _ in range(config.blocks)
        )
        self.rope = GroupedRope(config.width // config.heads, rope)
        self.norm = RMSNorm(config.width)
        self.pixels_out = nn.Linear(config.width, out_channels)

    def pixel_tokens(self, coordinates: Tensor) -> Tensor:
        """Return the pixel tokens (1, P, width) that every patch starts from."""
        tokens = self.pixel_token.expand(len(coordinates), -1)
        if self.features is not None:
            tokens = tokens + self.features(coordinates)
        return tokens[None]

    def prepare(self, coordinates: Tensor) -> PixelQueries:
        """Compute what patches with pixels at ``coordinates`` (P, 4) share."""
        tokens = self.pixel_tokens(coordinates)
        block = self.blocks[0]
        normed = block.attention_norm(tokens)
        pixel_rotation, rotation = patch_rotation(
            self.rope, coordinates, level_coordinates(self.num_levels), tokens
        )
        query = rotate(block.queries(normed), pixel_rotation)
        key, value = block.keys_values(normed)
        key = rotate(key, pixel_rotation)
        if self.config.pixel_attention == "self":
            logit, summary = (query * key).sum(dim=-1) * query.shape[-1] ** -0.5, value
        else:
            logit, summary = attention_summary(query, key, value)
        logit = logit + pixel_logit_bias(len(coordinates), self.config.pixel_logit_reference)
        return PixelQueries(tokens, query, logit, summary, rotation)

    def _first_block(self, latents: Tensor, shared: PixelQueries, pixels_only: bool) -> Tensor:
        block = self.blocks[0]
        count, levels = shared.tokens.shape[1], latents.shape[1]
        rotation = shared.rotation.slice(count, count + levels)
        normed = block.attention_norm(latents)
        key, value = block.keys_values(normed)
        key = rotate(key, rotation)
        attended = attend_with_summary(shared.query, shared.logit, shared.summary, key, value)
        x = shared.tokens.expand(len(latents), -1, -1)
        if not pixels_only:
            query = rotate(block.queries(normed), rotation)
            attended = torch.cat([attended, causal_latent_attention(query, key, value)], dim=1)
            x = torch.cat([x, latents], dim=1)
        return block.finish(x, attended)

    def forward(self, latents: Tensor, shared: PixelQueries, *, recompute: bool = False) -> Tensor:
        """Return pixels (p, P, c) of patches with latents (p, m, in_channels), m <= n.

        With ``recompute``, nothing before the last layer is kept for the backward pass. The last
        layer is: the adaptive weight of Eq. 6 asks for its gradient before the backward pass,
        which must not compute everything again and keep it.
        """
        return self.pixels_out(call(self.run_method, latents, shared, recompute=recompute))

    def _features(self, latents: Tensor, shared: PixelQueries) -> Tensor:
        latents = self.latents_in(latents)
        count, levels = shared.tokens.shape[1], latents.shape[1]
        bias = pixel_logit_bias(count, self.config.pixel_logit_reference)
        x = self._first_block(latents, shared, pixels_only=len(self.blocks) == 1)
        rotation = shared.rotation.slice(0, count + levels)
        for i, block in enumerate(self.blocks):
            if i == 0:
                continue
            last = i == len(self.blocks) - 1
            normed = block.attention_norm(x)
            key, value = block.keys_values(normed)
            if last:
                x, normed = x[:, :count], normed[:, :count]
            attended = latent_to_pixel_attention(
                rotate(block.queries(normed), rotation.slice(0, count) if last else rotation),
                rotate(key, rotation),
                value,
                count,
                pixels=self.config.pixel_attention,
                bias=bias,
                pixels_only=last,
            )
            x = block.finish(x, attended)
        return self.norm(x)
