"""SwiGLU feed-forward layer (Sec. 4.1, following LightningDiT)."""

from typing import Any

import torch
from torch import Tensor, nn

from dcs_common.autograd import apply


def swiglu_hidden(width: int) -> int:
    """Return the hidden width int(2/3 * 4 * width): 682, 2048 and 3072 for Table 3's widths."""
    return int(2 / 3 * 4 * width)


class _GatedSiLU(torch.autograd.Function):
    """silu(gate) * value from one (..., 2 h) tensor, keeping only that tensor for the gradient."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        gate, value = x.chunk(2, dim=-1)
        return nn.functional.silu(gate).mul_(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        gate, value = ctx.saved_tensors[0].chunk(2, dim=-1)
        sigmoid = torch.sigmoid(gate)
        silu = gate * sigmoid
        slope = sigmoid.addcmul(silu, 1 - sigmoid)
        return torch.cat([grad * value * slope, grad * silu], dim=-1)


class SwiGLU(nn.Module):
    """``out(silu(x A) * (x B))`` with A and B in one product."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = swiglu_hidden(width)
        self.gate_and_value = nn.Linear(width, 2 * hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (..., width)."""
        return self.out(apply(_GatedSiLU, self.gate_and_value(x)))
