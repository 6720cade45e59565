"""Means over all processes of a run, so that statistics do not depend on their number."""

import torch.distributed as dist
from torch import Tensor


def process_mean(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over all processes, without gradient; alone, ``value`` itself.

    Every process must call it at the same point with the same shape.
    """
    value = value.detach()
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
