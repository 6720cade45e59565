"""Encoder and decoder: level-causal transformers across patches (Sec. 3.2, Fig. 4b)."""

from typing import Any

import torch
from torch import Tensor, nn

from dcs_common.blocks import Blocks
from dcs_common.kv_cache import KeyValueCache
from dcs_common.level_causal_block import LevelCausalBlock
from dcs_common.norms import RMSNorm
from dcs_common.recompute import call
from dcs_common.rope import GroupedRope, RopeConfig
from dcs_common.token_layout import TokenLayout
from dcs_tok.config import TrunkConfig


class Trunk(nn.Module):
    """tokens (tokens, in) -> linear -> blocks with LCA -> norm -> linear -> (tokens, out).

    Attributes:
        recompute: keep only the inputs of blocks for the backward pass.
    """

    def __init__(
        self,
        config: TrunkConfig,
        rope: RopeConfig,
        in_channels: int,
        out_channels: int,
        num_levels: int,
    ) -> None:
        super().__init__()
        self.recompute = False
        self.tokens_in = nn.Linear(in_channels, config.width)
        self.level_embedding = (
            nn.Parameter(torch.empty(num_levels, config.width)) if config.level_embedding else None
        )
        if self.level_embedding is not None:
            nn.init.uniform_(self.level_embedding, -0.035, 0.035)
        self.blocks: Blocks[LevelCausalBlock] = Blocks(
            LevelCausalBlock(config.width, config.heads, config.qk_norm)
            for _ in range(config.blocks)
        )
        self.rope = GroupedRope(config.width // config.heads, rope)
        self.norm = RMSNorm(config.width)
        self.tokens_out = nn.Linear(config.width, out_channels)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile each block, in place; arguments of ``torch.compile``."""
        for block in self.blocks:
            block.compile(*args, **options)

    def forward(
        self, sequence: Tensor, layout: TokenLayout, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Transform a flat level-major sequence; with a cache, one level of it."""
        x = self.tokens_in(sequence)
        if self.level_embedding is not None:
            level = layout.token_index % layout.num_levels
            x = x + self.level_embedding[level.to(x.device)]
        rotations = layout.rotations(self.rope, x)
        for i, block in enumerate(self.blocks):
            kept = cache.layers[i] if cache else None
            x = call(block, x, layout, rotations, kept, recompute=self.recompute)
        return self.tokens_out(self.norm(x))
