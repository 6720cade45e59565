"""An exponential moving average of a model's weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

TensorList = tuple[Tensor, ...] | list[Tensor]


def ema_update(decay: float) -> Callable[[TensorList, TensorList, Tensor | int], None]:
    """Return the update of ``AveragedModel``: ``average += (1 - d) (weight - average)``.

    d is ``decay``, but at most ``(1 + n) / (10 + n)`` after n updates, so that a short run does
    not end near the weights it started from.
    """

    @torch.no_grad()
    def update(averages: TensorList, weights: TensorList, count: Tensor | int) -> None:
        n = float(count)
        share = 1 - min(decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(averages, weights, share)

    return update


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """Return an average that starts as a copy of the model."""
    return AveragedModel(model, multi_avg_fn=ema_update(decay))
