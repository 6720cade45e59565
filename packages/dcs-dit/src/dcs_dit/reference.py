"""The generator as the paper draws it: samples padded to n levels, one softmax under a dense mask.

Slow and plain on purpose; tests and benchmarks hold the model against it.
"""

import torch
from torch import Tensor

from dcs_common.attention_reference import additive, lca_mask, masked_attention
from dcs_common.rope import rotate
from dcs_common.token_layout import TokenLayout
from dcs_dit.block import AdaLNBlock, add_gated, modulate
from dcs_dit.conditioning import TextKeys
from dcs_dit.model import DCSDiT, Placement
from dcs_dit.text import TextStates


def padded_velocity(
    dit: DCSDiT,
    noised: Tensor,
    time: Tensor,
    levels: Tensor,
    labels: Tensor | None = None,
    text: TextStates | None = None,
    clean: Tensor | None = None,
) -> Tensor:
    """Return what ``dit(noised, time, levels, labels, text, clean)`` returns.

    Every sample carries the tokens of all n levels; those above its count neither see nor are seen,
    and come out as zero.
    """
    noised = dit.beside(noised, clean)
    b, t, h, w, n, _ = noised.shape
    layout = TokenLayout.of(torch.full((b, t, h, w), n))
    placement = dit.place(layout)
    patches = t * h * w
    level = torch.arange(n).repeat_interleave(patches)
    segment = torch.arange(t).repeat_interleave(h * w).repeat(n)
    is_active = level < levels.cpu()[:, None]  # b s
    bias = additive(lca_mask(level, segment, is_active), noised).unsqueeze(1)
    conditions = dit.conditions(time, labels, text)
    x = dit.tokens_in(layout.gather(noised), placement.level)
    for i, block in enumerate(dit.blocks):
        keys = None if conditions.texts is None else conditions.texts[i]
        x = _masked_block(block, x, placement, conditions.modulations[i], keys, bias)
    shift, scale = conditions.last.unbind(1)
    out = dit.tokens_out(modulate(dit.norm(x), shift, scale, layout), placement.level)
    shown = is_active.view(b, n, t, h, w).permute(0, 2, 3, 4, 1).unsqueeze(-1)
    return layout.scatter(out).masked_fill(~shown.to(out.device), 0)


def _masked_block(
    block: AdaLNBlock,
    x: Tensor,
    placement: Placement,
    modulation: Tensor,
    text: TextKeys | None,
    bias: Tensor,
) -> Tensor:
    layout, (rotation,) = placement.layout, placement.rotations
    shift, scale, gate, shift_2, scale_2, gate_2 = modulation.unbind(1)
    branch = modulate(block.attention_norm(x), shift, scale, layout)
    q, k, v = (part.unflatten(0, (layout.shape[0], -1)) for part in block.attention.project(branch))
    out = masked_attention(rotate(q, rotation), rotate(k, rotation), v, bias.to(q.dtype))
    branch = block.attention.out(out.flatten(2).flatten(0, 1))
    x = add_gated(x, gate, branch, layout)
    if block.text_attention is not None and block.text_norm is not None and text is not None:
        x = x + block.text_attention(block.text_norm(x), layout, text)
    branch = modulate(block.feed_forward_norm(x), shift_2, scale_2, layout)
    return add_gated(x, gate_2, block.feed_forward(branch), layout)
