"""Normalisation layers."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis with a learned gain.

    The gain is cast to the input's type: PyTorch's fused kernel needs both to agree.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., width)."""
        return nn.functional.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)
