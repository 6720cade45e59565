"""Attention from latent tokens to the states of a text."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dcs_common.norms import RMSNorm
from dcs_common.token_layout import TokenLayout
from dcs_dit.conditioning import TextKeys
from dcs_dit.initial import normal
from dcs_dit.text import TextStates


class TextInput(nn.Module):
    """Text states -> norm -> linear -> (b, 1 + s, width), a learned state for "no text" in front.

    Every sample sees that state, so that a text of length 0 is a condition like any other.
    """

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.norm = RMSNorm(text_width)
        self.linear = nn.Linear(text_width, width)
        self.no_text = nn.Parameter(normal(width, std=0.02))

    def forward(self, text: TextStates) -> tuple[Tensor, Tensor]:
        """Return states and which of them count, (b, 1 + s)."""
        states = self.linear(self.norm(text.states.to(self.linear.weight)))
        b, s, width = states.shape
        states = torch.cat([self.no_text.to(states).expand(b, 1, width), states], dim=1)
        place = torch.arange(1 + s, device=states.device)
        return states, place <= text.lengths.to(states.device)[:, None]


class CrossAttention(nn.Module):
    """Multi-head attention to text; its output starts at zero."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def keys(self, states: Tensor, is_text: Tensor) -> TextKeys:
        """Return what depends on the text alone."""
        key, value = self.key_value(states).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return TextKeys(key, value, is_text)

    def forward(self, x: Tensor, layout: TokenLayout, text: TextKeys) -> Tensor:
        """Attend from (tokens, width); ``text`` has the samples in the layout's order."""
        outputs, first = [], 0
        for group, query in layout.split(self.query(x)):
            some = slice(first, first + group.num_samples)
            first += group.num_samples
            out = scaled_dot_product_attention(
                query.unflatten(-1, (self.heads, -1)).transpose(1, 2),
                text.key[some].transpose(1, 2),
                text.value[some].transpose(1, 2),
                attn_mask=text.is_text[some, None, None],
            )
            outputs.append(out.transpose(1, 2).flatten(2).flatten(0, 1))
        return self.out(outputs[0] if len(outputs) == 1 else torch.cat(outputs))
