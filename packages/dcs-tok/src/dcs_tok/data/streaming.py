"""Batches from WebDataset shards, for any steps of a run and in any division.

A shard is read from front to back, so that samples are ordered by *lanes*. A lane is a few
neighbouring places of the batch, which read one shard sample by sample. The lanes of a batch are
in different shards; that mixes their contents, but the shards of a set should have been shuffled
when they were written.

What is exact. The order of an epoch's shards follows from the run's seed and the epoch, and each
lane takes every so-manyth of them. Every shard counts for ``samples_per_shard`` samples. Step,
place and batch size therefore say which sample of which shard comes, whatever came before: a run
that is continued at a step sees what it would have seen without a pause, and neither the division
into processes nor that into workers makes a difference. Continuing costs the reading of one shard
per lane up to the sample.

What is approximate. A shard with fewer samples than ``samples_per_shard`` begins again and
repeats some, of one with more the rest is left out: each sample comes once in an epoch if all
shards have exactly that many. Another batch size or list of shards is another order.
"""

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dcs_common.command_line import name_first
from dcs_common.training import Share, seeded_generator
from dcs_common.training.epoch_order import EpochOrder
from dcs_tok.clips import import_pyav
from dcs_tok.data.batch import TrainingBatch, join_batches, stack_pairs
from dcs_tok.data.clip_window import clip_pair
from dcs_tok.data.corruption import CorruptionCount
from dcs_tok.data.geometry import BatchGeometry, ScaleConfig, geometry_of_step
from dcs_tok.data.loading import LoadingConfig, kinds_asked_for, load
from dcs_tok.data.pairs import picture_pair
from dcs_tok.data.shards import ShardReader, ShardSample, expand_shards
from dcs_tok.data.sources import Kind, UnreadableSampleError, decode_picture

NEXT_IN_SHARD = 3
"""So many of the samples after an unreadable one may replace it before others are tried."""
OTHER_SHARDS = 4
"""So many other shards may replace one that is damaged from its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneConfig:
    """How the places of a batch are laid over shards.

    Attributes:
        samples_per_shard: how many samples each shard counts for.
        lane_width: places of the batch that read one shard.
    """

    samples_per_shard: int
    lane_width: int = 4

    def __post_init__(self) -> None:
        for name in ("samples_per_shard", "lane_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {getattr(self, name)}.")

    def locate(self, place: int, batch_size: int, steps_before: int) -> tuple[int, int, int]:
        """Return a place's lane, the position of its shard among all epochs', and its sample.

        Args:
            place: in the batch.
            batch_size: of the whole batch; its last lane may be narrower.
            steps_before: how many batches came before.
        """
        lane, offset = divmod(place, self.lane_width)
        lanes = -(-batch_size // self.lane_width)
        width = min(self.lane_width, batch_size - lane * self.lane_width)
        turn, sample = divmod(steps_before * width + offset, self.samples_per_shard)
        return lane, turn * lanes + lane, sample


class ShardSource:
    """Training pairs from WebDataset shards.

    A sample of a shard is the first of its files with the ending of a picture or clip; what else
    it holds, such as labels, is left alone. A clip is held in memory in its compressed form.

    Attributes:
        scales: what is drawn for each step.
        shards: names by kind.
        fingerprint: a hash of the shards' file names and the lanes, for the run's identity.
    """

    def __init__(
        self,
        shards: Sequence[str],
        scales: ScaleConfig,
        lanes: LaneConfig,
        *,
        seed: int,
        clip_shards: Sequence[str] = (),
        config: LoadingConfig | None = None,
    ) -> None:
        """Expand the patterns.

        Args:
            shards: of pictures; braces are expanded, as in ``train-{000..127}.tar``.
            scales: what is drawn for each step.
            lanes: how the places of a batch are laid over shards.
            seed: of the run.
            clip_shards: of clips.
            config: how samples are read; ``cache_mib`` has no use here.

        Raises:
            ValueError: if WebDataset, PyAV (for clips) or a local shard is missing, or there is
                no shard of a kind that ``scales`` ask for.
        """
        self.scales = scales
        self.config = config or LoadingConfig()
        patterns: dict[Kind, tuple[str, Sequence[str]]] = {
            "picture": ("shards", shards),
            "clip": ("clip_shards", clip_shards),
        }
        self.shards: dict[Kind, tuple[str, ...]] = {}
        for kind in kinds_asked_for(scales):
            name, given = patterns[kind]
            self.shards[kind] = expand_shards(given)
            if not self.shards[kind]:
                raise ValueError(
                    f"`{name}` must name shards of {kind}s, but is empty. Name some, or change "
                    "`clip_share`."
                )
        if "clip" in self.shards:
            import_pyav()
        names = [shard.rsplit("/", 1)[-1] for kind in self.shards for shard in self.shards[kind]]
        self.fingerprint = sha256("\n".join([*names, repr(lanes)]).encode()).hexdigest()[:16]
        self._dataset = _LanesOfShares(self.shards, scales, lanes, seed)

    def batches(self, shares: Iterable[Share]) -> Iterator[TrainingBatch]:
        """Yield one micro-batch for each share, in order.

        Workers take turns: each reads a part of every share, the same lanes all the time.

        Raises:
            ValueError: if too many samples are unreadable.
        """
        count = CorruptionCount(self.config.max_corrupt)
        sizes: deque[int] = deque()  # of the shares that were asked of the workers

        def parts() -> Iterator[Share]:
            for share in shares:
                sizes.append(share.stop - share.start)
                yield from _cut_up(share, max(1, self.config.workers))

        waiting: list[TrainingBatch] = []
        for part in load(self._dataset, parts(), self.config):
            waiting.append(part)
            if sum(map(len, waiting)) == sizes[0]:
                sizes.popleft()
                batch = join_batches(waiting)
                waiting = []
                count.add(batch)
                yield batch


def _cut_up(share: Share, count: int) -> Iterator[Share]:
    """Cut a share into ``count`` parts of neighbouring places, or as many as it has places."""
    size = share.stop - share.start
    count = min(count, size)
    edges = [share.start + i * size // count for i in range(count + 1)]
    for start, stop in pairwise(edges):
        yield Share(share.step, start, stop, share.batch_size)


class _LanesOfShares(Dataset[TrainingBatch | ValueError]):
    """Parts of micro-batches; what the caller got wrong is returned, not raised."""

    def __init__(
        self,
        shards: dict[Kind, tuple[str, ...]],
        scales: ScaleConfig,
        lanes: LaneConfig,
        seed: int,
    ) -> None:
        self._shards, self._scales, self._lanes, self._seed = shards, scales, lanes, seed
        self._readers: dict[tuple[Kind, int], ShardReader] = {}
        self._orders = {
            kind: EpochOrder(len(names), (seed, "shards", kind)) for kind, names in shards.items()
        }

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_readers": {}}  # open files stay in their process

    def __getitem__(self, part: Share) -> TrainingBatch | ValueError:
        geometry, before = geometry_of_step(self._scales, self._seed, part.step)
        pairs, names, skipped = [], [], []
        try:
            for place in range(part.start, part.stop):
                lane, shard, sample = self._lanes.locate(place, part.batch_size, before)
                key = (self._seed, "sample", part.step, place)
                reader = self._readers.setdefault((geometry.kind, lane), ShardReader(geometry.kind))
                for shard_name, number in self._candidates(geometry.kind, shard, sample):
                    try:
                        found = reader.at(shard_name, number)
                        pairs.append(self._pair(found, geometry, seeded_generator(*key)))
                        names.append(found.location)
                        break
                    except UnreadableSampleError as error:
                        skipped.append(f"{error.location} ({error.reason})")
                else:
                    raise ValueError(
                        f"Of {len(skipped)} samples one must be readable, but none is: "
                        f"{name_first(skipped)}. Write the shards again."
                    )
        except ValueError as error:
            return error
        return stack_pairs(pairs, geometry, names, skipped)

    def _candidates(self, kind: Kind, position: int, sample: int) -> Iterator[tuple[str, int]]:
        """Yield a shard and sample, and then those that may replace it.

        First come its neighbours, which cost least, then samples ever nearer to the shard's
        beginning, which is what is left of one that was cut off, then other shards.
        """
        order, shards = self._orders[kind], self._shards[kind]
        shard = shards[order[position]]
        for number in range(sample, sample + 1 + NEXT_IN_SHARD):
            yield shard, number % self._lanes.samples_per_shard
        while sample:
            sample //= 2
            yield shard, sample
        for other in order.replacements(position, OTHER_SHARDS):
            yield shards[other], 0

    def _pair(
        self, sample: ShardSample, geometry: BatchGeometry, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if geometry.kind == "picture":
            picture = decode_picture(sample.content, sample.location)
            return picture_pair(picture, geometry, self._scales, generator)
        return clip_pair(
            lambda: io.BytesIO(sample.content), sample.location, geometry, self._scales, generator
        )
