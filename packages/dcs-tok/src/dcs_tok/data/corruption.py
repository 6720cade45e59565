"""Keeping count of samples that cannot be read."""

import logging

from dcs_common.command_line import name_first
from dcs_tok.data.batch import TrainingBatch

ALWAYS_ALLOWED = 8
"""So many may be unreadable whatever their share: a first batch says little about the rest."""

_LOG = logging.getLogger(__name__)


class CorruptionCount:
    """Counts samples that were skipped; logs each once, and stops when there are too many.

    Attributes:
        max_corrupt: largest share of all samples that were seen.
        seen, skipped: numbers so far; a sample counts in every epoch.
    """

    def __init__(self, max_corrupt: float) -> None:
        self.max_corrupt = max_corrupt
        self.seen = 0
        self.skipped = 0
        self._named: dict[str, None] = {}

    def add(self, batch: TrainingBatch) -> None:
        """Count a batch's samples.

        Raises:
            ValueError: if more than ``max_corrupt`` of all samples were skipped.
        """
        self.seen += len(batch) + len(batch.skipped)
        self.skipped += len(batch.skipped)
        for name in batch.skipped:
            if name not in self._named:
                self._named[name] = None
                _LOG.warning("skipped an unreadable sample: %s", name)
        if self.skipped > max(ALWAYS_ALLOWED, self.max_corrupt * self.seen):
            raise ValueError(
                f"At most {100 * self.max_corrupt:g} % of the samples may be unreadable, but "
                f"{self.skipped} of {self.seen} are: {name_first(list(self._named))}. "
                "Repair or remove them, or raise `max_corrupt`."
            )
