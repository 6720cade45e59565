"""FLOPs and activations of a training step as functions of the micro-batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self


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


@dataclass(frozen=True, slots=True)
class StepCost:
    """Of a micro-batch of one geometry, beside weights, gradients and optimisers.

    Attributes:
        patches, latent_tokens: of one sample.
        outside: all of the tokenizer but its trunks' blocks, over the number of patches.
        trunks: number of blocks and cost of one, over samples, for each trunk.
        losses: what comes after the tokenizer, over samples.
        batch_bytes: inputs and targets of one sample.
        patch_bytes: transient of a patch in the patch networks.
        patches_alike: patches of a sample that go through them together, if there is room.
        patches_at_once: for how many there is; 0 without patch networks.
    """

    patches: int
    latent_tokens: float
    outside: CostLine
    trunks: tuple[tuple[int, CostLine], ...]
    losses: CostLine
    batch_bytes: int
    patch_bytes: float = 0.0
    patches_alike: float = 0.0
    patches_at_once: int = 0

    def at(self, samples: int) -> Cost:
        """Return the cost of a micro-batch: parts are kept together, one at a time is at work."""
        outside = self.outside.at(samples * self.patches)
        losses = self.losses.at(samples)
        blocks = [(count, line.at(samples)) for count, line in self.trunks]
        piece = self.patch_bytes * min(self.patches_at_once, samples * self.patches_alike)
        transients = [outside, losses, *(block for _, block in blocks)]
        return Cost(
            outside.flops + losses.flops + sum(count * block.flops for count, block in blocks),
            samples * self.batch_bytes
            + outside.kept
            + sum(count * block.kept for count, block in blocks),
            max(piece, *(part.transient for part in transients)),
        )

    def bytes_at(self, samples: int) -> float:
        """Return the activations of a micro-batch at their peak."""
        cost = self.at(samples)
        return cost.kept + cost.transient

    def largest(self, memory: float) -> int:
        """Return the largest micro-batch whose activations fit; 0 if none does."""
        fits, too_many = 0, 1
        while self.bytes_at(too_many) <= memory:
            fits, too_many = too_many, 2 * too_many
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            if self.bytes_at(middle) <= memory:
                fits = middle
            else:
                too_many = middle
        return fits
