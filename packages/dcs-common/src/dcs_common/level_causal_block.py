"""Transformer blocks with level-causal attention, the trunk of autoencoder and DiT (Fig. 4b)."""

from typing import Any

import torch
from torch import Tensor, nn

from dcs_common.attention import level_causal_attention
from dcs_common.compiled_method import WithCompiledMethod
from dcs_common.feed_forward import SwiGLU
from dcs_common.kv_cache import LayerCache
from dcs_common.norms import RMSNorm
from dcs_common.rope import Rotation, rotate
from dcs_common.token_layout import TokenLayout


class LevelCausalAttention(WithCompiledMethod):
    """Multi-head LCA over a flat level-major sequence.

    What does not depend on the layout can be compiled; the rest would be anew for every layout.
    """

    compiled_method = "_project"

    def __init__(self, width: int, heads: int, qk_norm: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(
                f"`width` must be a multiple of `heads`, but is {width} for {heads} heads."
            )
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.query_norm = RMSNorm(width // heads) if qk_norm else nn.Identity()
        self.key_norm = RMSNorm(width // heads) if qk_norm else nn.Identity()

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (..., heads, head_dim) of tokens (..., width)."""
        return self.run_method(x)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.unbind(-3)
        return self.query_norm(query), self.key_norm(key), value

    def forward(
        self,
        x: Tensor,
        layout: TokenLayout,
        rotations: tuple[Rotation, ...],
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Attend over (tokens, width); with a cache, over one level and all before it."""
        query, key, value = self.project(x)
        outputs = []
        parts = zip(layout.split(query), layout.split(key), layout.split(value), strict=True)
        for ((group, q), (_, k), (_, v)), rotation in zip(parts, rotations, strict=True):
            q, k = rotate(q, rotation), rotate(k, rotation)
            if cache is not None:
                k, v = cache.extend(group, k, v)
            outputs.append(level_causal_attention(q, k, v, group).flatten(2).flatten(0, 1))
        return self.out(outputs[0] if len(outputs) == 1 else torch.cat(outputs))


class LevelCausalBlock(nn.Module):
    """Pre-norm attention and feed-forward.

    x --+--> norm -> LCA --(+)--+--> norm -> SwiGLU --(+)-->
        +------------------/    +---------------------/
    """

    def __init__(self, width: int, heads: int, qk_norm: bool = False) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(width)
        self.attention = LevelCausalAttention(width, heads, qk_norm)
        self.feed_forward_norm = RMSNorm(width)
        self.feed_forward = SwiGLU(width)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile what does not depend on the layout, in place; arguments of ``torch.compile``."""
        for part in self.children():
            part.compile(*args, **options)

    def forward(
        self,
        x: Tensor,
        layout: TokenLayout,
        rotations: tuple[Rotation, ...],
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Transform (tokens, width)."""
        x = x + self.attention(self.attention_norm(x), layout, rotations, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))
