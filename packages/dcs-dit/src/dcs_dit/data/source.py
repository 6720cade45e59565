"""Batches of cached latents, the same in any division of a step and after any pause."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcs_common.training.epoch_order import EpochOrder
from dcs_common.training.task import Share
from dcs_dit.data.latent_cache import LatentCache


@dataclass(frozen=True, slots=True)
class LatentBatch:
    """Latents and what they show.

    Attributes:
        tokens: (b, t, h, w, n, c) float32, as the tokenizer gave them: not normalised.
        labels: (b,) int64; -1 without one.
        captions: b, empty where there is none; None if the cache has no captions.
    """

    tokens: Tensor
    labels: Tensor
    captions: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def to(self, device: torch.device | str) -> "LatentBatch":
        """Return the batch on a device."""
        return replace(self, tokens=self.tokens.to(device), labels=self.labels.to(device))


class LatentSource:
    """Training batches from a cache, as a :class:`dcs_common.training.BatchSource`.

    Every epoch holds every sample once, in an order of its own; a batch may lie across two.

    Attributes:
        cache: the latents.
        fingerprint: the cache's, for the run's identity.
    """

    def __init__(self, cache: LatentCache, seed: int) -> None:
        """Draw no order yet.

        Args:
            cache: the latents.
            seed: of the run.
        """
        self.cache = cache
        self.fingerprint = cache.fingerprint
        self._order = EpochOrder(len(cache), (seed, "latents"))

    def batches(self, shares: Iterable[Share]) -> Iterator[LatentBatch]:
        """Yield one batch for each share, in order."""
        for share in shares:
            first = share.step * share.batch_size
            indices = [self._order[first + place] for place in range(share.start, share.stop)]
            yield LatentBatch(
                self.cache.tokens(indices),
                self.cache.labels[indices],
                self.cache.captions(indices),
            )
