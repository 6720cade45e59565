"""The generator's block: level-causal attention and feed-forward under adaLN-zero (Fig. 4b)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dcs_common.feed_forward import SwiGLU
from dcs_common.kv_cache import LayerCache
from dcs_common.level_causal_block import LevelCausalAttention
from dcs_common.norms import RMSNorm
from dcs_common.rope import Rotation
from dcs_common.token_layout import TokenLayout
from dcs_dit.conditioning import Modulation, TextKeys
from dcs_dit.cross_attention import CrossAttention


def modulate(x: Tensor, shift: Tensor, scale: Tensor, layout: TokenLayout) -> Tensor:
    """Return ``x (1 + scale) + shift`` with one row (b, 1, width) a sample, in the layout's order.

    Args:
        x: (tokens, width).
        shift, scale: (b, 1, width).
        layout: which tokens belong to which sample.
    """
    grown = 1 + scale
    return _by_sample(x, layout, lambda part, i: torch.addcmul(shift[i], part, grown[i]))


def add_gated(x: Tensor, gate: Tensor, branch: Tensor, layout: TokenLayout) -> Tensor:
    """Return ``x + gate * branch``."""
    return x + _by_sample(branch, layout, lambda part, i: gate[i] * part)


def _by_sample(x: Tensor, layout: TokenLayout, change: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """Change each group's (samples, tokens, width), given the slice of its samples."""
    parts, first = [], 0
    for group, part in layout.split(x):
        samples = slice(first, first + group.num_samples)
        first += group.num_samples
        parts.append(change(part, samples).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class AdaLNBlock(nn.Module):
    """Pre-norm block whose branches are scaled, shifted and gated by time and label.

    x -+-> norm, modulate -> LCA -> gate -(+)-+-> norm -> text -(+)--> ... as the first, with SwiGLU
       +----------------------------------/   +----------------/
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        qk_norm: bool = False,
        modulation_rank: int | None = None,
        with_text: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(width)
        self.attention = LevelCausalAttention(width, heads, qk_norm)
        self.text_norm = RMSNorm(width) if with_text else None
        self.text_attention = CrossAttention(width, heads) if with_text else None
        self.feed_forward_norm = RMSNorm(width)
        self.feed_forward = SwiGLU(width)
        self.modulation = Modulation(width, 6, modulation_rank)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile what does not depend on the layout, in place; arguments of ``torch.compile``."""
        parts = (self.attention_norm, self.attention, self.feed_forward_norm, self.feed_forward)
        for part in parts:
            part.compile(*args, **options)

    def forward(
        self,
        x: Tensor,
        layout: TokenLayout,
        rotations: tuple[Rotation, ...],
        modulation: Tensor,
        text: TextKeys | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Transform (tokens, width) under what :attr:`modulation` gave for each sample."""
        shift, scale, gate, shift_2, scale_2, gate_2 = modulation.unbind(1)
        branch = modulate(self.attention_norm(x), shift, scale, layout)
        x = add_gated(x, gate, self.attention(branch, layout, rotations, cache), layout)
        if self.text_attention is not None and self.text_norm is not None and text is not None:
            x = x + self.text_attention(self.text_norm(x), layout, text)
        branch = modulate(self.feed_forward_norm(x), shift_2, scale_2, layout)
        return add_gated(x, gate_2, self.feed_forward(branch), layout)
