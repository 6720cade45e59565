"""What a training loop is given: networks with their losses, and batches.

Losses come one after the other, so that a discriminator can learn from what the generator's loss
has just computed:

    for name, loss, scalars in task.losses(batch, share, call):
        loss.backward()          # for the network called `name`
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Scalars = Mapping[str, Tensor | float]


@dataclass(frozen=True, slots=True)
class Share:
    """Samples ``start`` to ``stop`` of a step's batch: one micro-batch of one process.

    Attributes:
        step: number of the step, from 0.
        start, stop: as for a slice of the step's batch.
        batch_size: samples of the step over all processes.
    """

    step: int
    start: int
    stop: int
    batch_size: int


class TrainingTask(Protocol):
    """Networks and what they are trained for."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The trained networks, each with an optimiser of its own; the first is the model."""
        ...

    def hidden_matrices(self, network: str) -> Collection[str]:
        """Name the parameters that an optimiser of matrices (Muon) may take; two axes each."""
        ...

    def losses(
        self, batch: Any, share: Share, call: Mapping[str, nn.Module]
    ) -> Iterator[tuple[str, Tensor, Scalars]]:
        """Yield (network, loss, scalars to log), each a mean over the samples of the share.

        The loop runs ``backward`` on each loss before it asks for the next, and steps all
        networks at the end. A network's own loss must call it through ``call``, once, which may
        wrap it for several processes or compiled, and leave what it returns as it is. In the loss
        of another network it must be frozen (``requires_grad_(False)``) and called directly, by
        each process alike. Each process must yield the same names. Weights are whole inside of
        these calls alone (``parallel="fsdp"``), or after the network's own until it learns.
        """
        ...

    def validate(self, model: nn.Module) -> Scalars:
        """Measure the model, whose weights are the averaged ones; may return nothing."""
        ...

    def images(self, batch: Any, model: nn.Module) -> Mapping[str, Tensor]:
        """Return pictures (b, 3, H, W) in [0, 1] to look at; may return nothing."""
        ...


@runtime_checkable
class NamesBlocks(Protocol):
    """A task that says which parts of its networks fit FSDP2 (``parallel="fsdp"``).

    Without this, the weights of a network are gathered all at once.
    """

    def blocks(self, network: str) -> Iterable[nn.Module]:
        """Name the parts whose weights are gathered one part at a time, inner ones first.

        Transformer blocks, as a rule. A part must be called as a module, not by its methods, and
        equally often in every process, else they wait for one another forever.
        """
        ...


class Batch(Protocol):
    """What a source yields."""

    def to(self, device: torch.device | str) -> Any:
        """Return the batch on a device."""
        ...


class BatchSource(Protocol):
    """Where micro-batches come from."""

    def batches(self, shares: Iterable[Share]) -> Iterator[Any]:
        """Yield one :class:`Batch` for each share, in order."""
        ...
