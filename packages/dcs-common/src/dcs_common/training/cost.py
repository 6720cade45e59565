"""FLOPs and activations of a part of a training step, found out without computing it.

The part's own code runs forward and backward on *fake* tensors (torch's ``FakeTensorMode``: shapes
and types, no values) under a meter that sees every operation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dcs_common.training.config import Precision
from dcs_common.training.meter import Meter


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the forward and backward pass of a part of the step.

    Attributes:
        flops: of both, with what is computed again where activations are not kept.
        kept: bytes alive between the two.
        transient: the most bytes beside those.
    """

    flops: float
    kept: float
    transient: float

    def __sub__(self, other: Self) -> "Cost":
        """Return what two parts differ by."""
        return Cost(
            self.flops - other.flops, self.kept - other.kept, self.transient - other.transient
        )

    def __add__(self, other: Self) -> "Cost":
        """Join two quantities of one part."""
        return Cost(
            self.flops + other.flops, self.kept + other.kept, self.transient + other.transient
        )

    def __mul__(self, factor: float) -> "Cost":
        """Scale all three."""
        return Cost(self.flops * factor, self.kept * factor, self.transient * factor)


@dataclass(frozen=True, slots=True)
class CostLine:
    """A cost that grows along a line through ``first`` at ``start``."""

    start: float
    first: Cost
    slope: Cost

    @classmethod
    def through(cls, points: Sequence[tuple[float, Cost]]) -> Self:
        """Draw the line through two points; no transient shrinks with size."""
        ((x, first), (y, second)) = points
        slope = (second - first) * (1 / (y - x))
        return cls(x, first, replace(slope, transient=max(0.0, slope.transient)))

    def at(self, x: float) -> Cost:
        """Return the cost at a size."""
        return self.first + self.slope * (x - self.start)


def fake_mode() -> FakeTensorMode:
    """Return a mode to make networks in; they then work outside it, with real tensors beside."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def with_gradients(network: nn.Module) -> list[Tensor]:
    """Return parameters, buffers and gradients, which are made in advance."""
    known: list[Tensor] = list(network.buffers())
    for parameter in network.parameters():
        known.append(parameter)
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
            known.append(parameter.grad)
    return known


def measured_pass(
    forward: Callable[[], Tensor], network: nn.Module, inputs: list[Tensor], precision: Precision
) -> Cost:
    """Measure a forward and backward pass, gradients excepted.

    Args:
        forward: calls the network.
        network: whose weights and gradients are not counted.
        inputs: tensors that are not counted, either.
        precision: "bfloat16" runs it under autocast.
    """
    meter = Meter([*with_gradients(network), *inputs])
    with meter:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            out = forward()
        kept = meter.held
        if out.requires_grad:
            out.backward(torch.zeros_like(out))
    return Cost(meter.flops, kept, meter.peak - kept)
