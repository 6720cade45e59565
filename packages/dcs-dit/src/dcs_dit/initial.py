"""Starting values of parameters."""

import torch
from torch import Tensor, nn


def normal(*shape: int, std: float) -> Tensor:
    """Return normal numbers of deviation ``std``; on the meta device, no numbers.

    To draw there, torch would first import what its compiler needs, which takes seconds.
    """
    weight = torch.empty(shape)
    return weight if weight.is_meta else nn.init.normal_(weight, std=std)
