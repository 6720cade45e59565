"""FLOPs and activations of a training step as functions of the micro-batch."""

from dataclasses import dataclass

from dcs_common.training.cost import Cost, CostLine


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
