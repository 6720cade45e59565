"""The order of samples in every epoch of a run."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dcs_common.training.seeds import seeded_generator


@dataclass(slots=True)
class EpochOrder:
    """The order of ``count`` things, drawn anew for every epoch.

    Attributes:
        count: how many there are.
        key: seeds the orders, together with the number of the epoch.
    """

    count: int
    key: tuple[int | str, ...]
    _orders: dict[int, Tensor] = field(default_factory=dict)

    def __getitem__(self, position: int) -> int:
        """Return what comes at ``position`` of all epochs one after the other."""
        epoch, place = divmod(position, self.count)
        if epoch not in self._orders:
            # A batch may lie across two epochs; older ones are not needed again.
            self._orders = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            generator = seeded_generator(*self.key, "epoch", epoch)
            self._orders[epoch] = torch.randperm(self.count, generator=generator)
        return int(self._orders[epoch][place])

    def replacements(self, position: int, most: int) -> list[int]:
        """Return others that may stand in for what is at ``position``, drawn for it alone."""
        generator = seeded_generator(*self.key, "replacement", position)
        others: list[int] = torch.randint(self.count, (most,), generator=generator).tolist()
        return others
