"""A cache of latents to train from, read lazily from its shards."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from os import PathLike
from pathlib import Path
from reprlib import repr as shorten

import torch
from torch import Tensor

from dcs_common.command_line import name_first
from dcs_dit.data.cache_plan import CachePlan
from dcs_dit.data.cache_shard import CacheShard
from dcs_dit.data.latent_moments import LatentMoments, LatentStatistics


class LatentCache:
    """Latents with labels, made by ``dcs-dit cache``.

    Attributes:
        plan: what the (first) cache holds.
        label_names: of the classes.
        labels: (N,) int64; -1 without one.
        pictures: (N,) int64, number of each sample's file: a mirrored copy has that of the
            original, as have clips of one video.
        names: of the N samples' pictures, below their source.
        statistics: mean and deviation (n, c) over all samples.
        fingerprint: 16 hexadecimal digits that name this data.
    """

    def __init__(self, plan: CachePlan, shards: Sequence[CacheShard], fingerprint: str) -> None:
        self.plan = plan
        self.label_names = plan.label_names
        self.fingerprint = fingerprint
        self._shards = [shard for shard in shards if len(shard)]
        if not self._shards:
            raise ValueError("A cache must hold latents, but this one has none. Make it again.")
        self.labels = torch.cat([shard.labels for shard in self._shards])
        self.pictures = torch.cat([shard.sample for shard in self._shards])
        self.names = tuple(name for shard in self._shards for name in shard.names)
        moments = LatentMoments.none(plan.levels, plan.channels)
        for shard in self._shards:
            moments = moments.merged(shard.moments)
        self.statistics: LatentStatistics = moments.statistics
        self._stops = list(accumulate(len(shard) for shard in self._shards))
        self._has_captions = any(shard.captions is not None for shard in self._shards)

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> "LatentCache":
        """Open a cache.

        Raises:
            ValueError: if it is not complete or not consistent.
        """
        return cls.open_all([folder])

    @classmethod
    def open_all(cls, folders: Sequence[str | PathLike[str]]) -> "LatentCache":
        """Open several caches as one; the numbers of pictures go on from one to the next.

        Their pictures may have had different sizes: on one grid latents are alike. Those of the
        first are the default size of what a generator makes.

        Raises:
            ValueError: if one is not complete or not consistent, or they do not go together.
        """
        if not folders:
            raise ValueError("There must be a cache of latents, but there is none. Name one.")
        paths = [Path(folder) for folder in folders]
        plans = [CachePlan.read(path) for path in paths]
        digest, shards, pictures = hashlib.sha256(), [], 0
        for path, plan in zip(paths, plans, strict=True):
            _check_alike(paths[0], plans[0], path, plan)
            for shard in _open_shards(path, plan):
                digest.update(f"{plan.digest} {len(shard)}\n".encode())
                shard.sample += pictures
                shards.append(shard)
            pictures += plan.samples // plan.copies
        return cls(plans[0], shards, digest.hexdigest()[:16])

    def __len__(self) -> int:
        return len(self.labels)

    def tokens(self, indices: Sequence[int]) -> Tensor:
        """Return the tokens of samples: (b, t, h, w, n, c) float32."""
        out = torch.empty(len(indices), *self.grid, self.num_levels, self.channels)
        for row, (shard, place) in zip(out, self._places(indices), strict=True):
            row.copy_(shard.tokens(place))
        return out

    def captions(self, indices: Sequence[int]) -> tuple[str, ...] | None:
        """Return the captions of samples, empty where there is none; None if no sample has one."""
        if not self._has_captions:
            return None
        return tuple(
            (shard.captions[place] if shard.captions else None) or ""
            for shard, place in self._places(indices)
        )

    def _places(self, indices: Sequence[int]) -> list[tuple[CacheShard, int]]:
        if len(indices) and not 0 <= min(indices) <= max(indices) < len(self):
            raise ValueError(
                f"An index must be between 0 and {len(self) - 1}, but they range from "
                f"{min(indices)} to {max(indices)}. The cache holds {len(self)} samples."
            )
        places = []
        for index in indices:
            number = bisect_right(self._stops, index)
            shard = self._shards[number]
            places.append((shard, index - self._stops[number] + len(shard)))
        return places

    @property
    def tokenizer(self) -> str:
        """The tokenizer's fingerprint."""
        return self.plan.fingerprint

    @property
    def tokenizer_name(self) -> str:
        """The name under which the tokenizer is found."""
        return self.plan.tokenizer

    @property
    def tokenizer_model(self) -> str | None:
        """The tokenizer's model as it was given; None for its default."""
        return self.plan.model

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the (first) cache's pictures or clips."""
        return self.plan.size

    @property
    def fps(self) -> int | None:
        """Frames per second of clips; None for pictures."""
        return self.plan.fps

    @property
    def segments_per_second(self) -> int | None:
        """k_t of the tokenizer of clips; None for pictures."""
        return self.plan.segments_per_second

    @property
    def grid(self) -> tuple[int, int, int]:
        """(t, h, w)."""
        return self.plan.grid

    @property
    def num_levels(self) -> int:
        """Levels n."""
        return self.plan.levels

    @property
    def channels(self) -> int:
        """Channels c of a token."""
        return self.plan.channels


def _open_shards(folder: Path, plan: CachePlan) -> list[CacheShard]:
    missing = plan.missing_shards(folder)
    if missing:
        names = name_first([plan.shard_path(folder, number).name for number in missing])
        raise ValueError(
            f"A cache must hold all its {plan.num_shards} shards, but {folder} lacks "
            f"{len(missing)} ({names}). Run the command that began it again, or those of its jobs "
            "that have not finished; shards that are there are kept."
        )
    return [
        CacheShard.open(plan.shard_path(folder, number), plan, number)
        for number in range(plan.num_shards)
    ]


def _check_alike(first: Path, plan: CachePlan, second: Path, other: CachePlan) -> None:
    for what in ("fingerprint", "grid", "levels", "channels", "label_names", "fps"):
        there, here = getattr(plan, what), getattr(other, what)
        if there != here:
            raise ValueError(
                f"Caches that are used together must have the same {what}, but {first} has "
                f"{shorten(there)} and {second} has {shorten(here)}. Make them with one "
                "tokenizer, grid and table of labels."
            )
