"""Rectified flow with logit-normal times and a loss on the velocity's direction (Table 5).

    x_t = t x_1 + (1 - t) x_0,   x_0 ~ N(0, 1) at t = 0, x_1 data at t = 1
    u = x_1 - x_0                the velocity, constant along the path
    L = |v - u|^2 + w (1 - cos(v, u))

The paper names them by LightningDiT's configuration ``transport``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_FLOOR = 1e-2  # of a velocity's length, whose targets have about sqrt(2 c)


def logit_normal_times(count: int, generator: torch.Generator) -> Tensor:
    """Draw (count,) times sigmoid(n), n ~ N(0, 1)."""
    return torch.randn(count, generator=generator).sigmoid()


def path(data: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Return x_t and the velocity u.

    Args:
        data, noise: (b, ...).
        time: (b,).
    """
    t = time.view(-1, *[1] * (data.ndim - 1))
    return torch.lerp(noise, data, t), data - noise


@dataclass(frozen=True, slots=True)
class FlowErrors:
    """Errors of every token, (b, t, h, w, n); to be averaged over active tokens."""

    squared: Tensor
    direction: Tensor


def flow_errors(velocity: Tensor, target: Tensor) -> FlowErrors:
    """Compare velocities (..., c): mean squared error, and 1 - cosine, over channels."""
    velocity, target = velocity.float(), target.float()
    squared = (velocity - target).square().mean(dim=-1)
    # A fresh model returns zero, where the cosine has no slope: without a floor, about 1e8.
    direction = 1 - torch.nn.functional.cosine_similarity(velocity, target, dim=-1, eps=_FLOOR)
    return FlowErrors(squared, direction)


def mean_over_active(errors: Tensor, levels: Tensor) -> Tensor:
    """Average (b, t, h, w, n) over each sample's active tokens, then over samples.

    A sample counts the same whatever its level count, so that any division of a batch gives the
    same mean.
    """
    by_level = errors.flatten(1, 3).mean(dim=1)  # b n
    active = torch.arange(by_level.shape[1], device=levels.device) < levels[:, None]
    return ((by_level * active).sum(dim=1) / levels).mean()
