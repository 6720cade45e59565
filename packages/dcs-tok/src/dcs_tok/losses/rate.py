"""The rate of symbols under a Laplace distribution, in bits."""

from math import log

import torch
from torch import Tensor

_SMALLEST = 1e-9


def laplace_bits(symbols: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return the bits of each symbol: minus log2 of the mass within half a step around it.

    Differentiable in all three; symbols may lie between integers, as they do under the uniform
    noise that stands for rounding in training (Balle et al., ICLR 2017).

    Args:
        symbols: any shape, in steps.
        mean, log_scale: of the same shape; the scale is the b of ``exp(-|x| / b) / 2 b``.
    """
    distance = (symbols.float() - mean.float()).abs()
    rate = (-log_scale.float()).exp()
    near, far = distance.clamp(max=0.5), distance.clamp(min=0.5)
    mass = 1 - 0.5 * ((-(0.5 - near) * rate).exp() + (-(0.5 + near) * rate).exp())
    inside = -mass.clamp(min=_SMALLEST).log()
    outside = (far - 0.5) * rate - (0.5 * -torch.expm1(-rate)).clamp(min=_SMALLEST).log()
    return torch.where(distance < 0.5, inside, outside) / log(2)
