"""Weights of large networks that a formula gives, the same on every machine."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def formula_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of the same names and shapes: signals neither vanish nor explode in them."""
    found: dict[str, Tensor] = {}
    for place, (key, like) in enumerate(sorted(tensors.items())):
        count = like.numel()
        # Looks random, as signals must not average out; nothing is alike between tensors.
        places = torch.arange(1, count + 1, dtype=torch.float64) + 1000 * place
        spread = ((places * 12.9898).sin() * 43758.5453) % 1
        scale = math.sqrt(3) * (2 * spread - 1)  # mean 0, variance 1
        if key.endswith("num_batches_tracked"):
            values = torch.zeros(count)
        elif key.endswith("running_var"):
            values = 1 + 0.3 * scale
        elif like.ndim > 1:
            values = scale * math.sqrt(2 / like[0].numel())
        else:  # of normalisations and biases
            values = (1.0 if key.endswith("bn.weight") else 0.0) + 0.2 * scale
        found[key] = values.reshape(like.shape).to(like.dtype)
    return found
