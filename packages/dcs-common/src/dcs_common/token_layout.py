"""Level-major token sequences: the layout that makes level causality a slice (Fig. 12, 13).

The latents (b, t, h, w, n, c) of a batch become one flat sequence (tokens, c). Samples that have
equally many tokens in every tile form a *group*, and inside a sample of a group tokens are ordered

    level, then segment, then row, then column.

A *tile* is all tokens of one (level, segment). It sees a *box*: levels up to its own in segments
up to its own. For one segment the box is the prefix that ends with the tile's level; dropping
tail levels shortens the sequence; the key/value cache of level-by-level work is that prefix.
Tokens that a level map drops do not exist here, so no mask is needed anywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dcs_common.positions import latent_coordinates
from dcs_common.rope import GroupedRope, Rotation


@dataclass(frozen=True, eq=False)
class Tile:
    """All tokens of one (level, segment): a slice of queries and the slices of keys they see."""

    start: int
    stop: int
    box: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class TokenGroup:
    """Samples with equal tiles.

    Attributes:
        key: number of the group in its layout; names its entry in a cache.
        samples: (g,) batch indices.
        patches: (g, s) or, where all samples share it, (1, s): flat patch index of each token.
        tile_sizes: tokens of each [level][segment], from level 1 on.
        first_level: levels below this one (0-based) are not part of the sequence but precede it
            in a cache.
        capacity: tokens of one sample over all levels but its last, whose keys and values serve no
            other: what a cache must hold in the end.
    """

    key: int
    samples: Tensor
    patches: Tensor
    tile_sizes: tuple[tuple[int, ...], ...]
    first_level: int = 0
    capacity: int = 0

    @cached_property
    def num_samples(self) -> int:
        """Samples in the group."""
        return len(self.samples)

    @cached_property
    def num_tokens(self) -> int:
        """Tokens of one sample in this sequence."""
        return self.patches.shape[1]

    @cached_property
    def level_stops(self) -> tuple[int, ...]:
        """Where each level ends in the full sequence (cached levels included)."""
        stops, end = [], 0
        for sizes in self.tile_sizes:
            end += sum(sizes)
            stops.append(end)
        return tuple(stops)

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """Tiles of this sequence in order; box slices index the full sequence."""
        begin = self.level_stops[self.first_level - 1] if self.first_level else 0
        tiles: list[Tile] = []
        position = begin
        for level in range(self.first_level, len(self.tile_sizes)):
            for segment, size in enumerate(self.tile_sizes[level]):
                if size:
                    tiles.append(
                        Tile(position - begin, position - begin + size, self._box(level, segment))
                    )
                position += size
        return tuple(tiles)

    def _box(self, level: int, segment: int) -> tuple[tuple[int, int], ...]:
        """Slices of levels <= level in segments <= segment, neighbours merged."""
        slices: list[tuple[int, int]] = []
        start = 0
        for sizes in self.tile_sizes[: level + 1]:
            stop = start + sum(sizes[: segment + 1])
            if slices and slices[-1][1] == start:
                slices[-1] = (slices[-1][0], stop)
            elif stop > start:
                slices.append((start, stop))
            start += sum(sizes)
        return tuple(slices)


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """How the active tokens of a batch of latents lie in one flat sequence.

    Attributes:
        shape: (b, t, h, w).
        num_levels: levels n of the latents that are gathered from and scattered to.
        groups: the sequence is their concatenation, each (samples, tokens) row-major.
    """

    shape: tuple[int, int, int, int]
    num_levels: int
    groups: tuple[TokenGroup, ...]

    @classmethod
    def of(cls, level_map: Tensor, num_levels: int | None = None) -> "TokenLayout":
        """Lay out the active tokens of a level map (b, t, h, w)."""
        b, t, h, w = level_map.shape
        shape = (b, t, h, w)
        level_map = level_map.cpu()
        highest = int(level_map.max())
        num_levels = highest if num_levels is None else num_levels
        by_segment = level_map.flatten(2)  # b t (h w)
        patches = by_segment.shape[1] * by_segment.shape[2]
        if int(level_map.min()) == highest:  # uniform
            sizes = ((by_segment.shape[2],) * shape[1],) * highest
            index = torch.arange(patches).repeat(highest)[None]
            return cls(shape, num_levels, (TokenGroup(0, torch.arange(shape[0]), index, sizes),))
        reached = torch.arange(1, highest + 1)[:, None, None, None] <= by_segment  # n b t p
        sizes_of = reached.sum(dim=-1).permute(1, 0, 2).tolist()  # b n t
        members: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for sample, sizes in enumerate(sizes_of):
            trimmed = tuple(tuple(row) for row in sizes if any(row))
            members.setdefault(trimmed, []).append(sample)
        groups = []
        for key, (tile_sizes, samples) in enumerate(members.items()):
            chosen = torch.tensor(samples)
            active = reached[:, chosen].permute(1, 0, 2, 3).reshape(len(samples), -1)
            token = active.nonzero()[:, 1].view(len(samples), -1)
            groups.append(TokenGroup(key, chosen, token % patches, tile_sizes))
        return cls(shape, num_levels, tuple(groups))

    @property
    def num_tokens(self) -> int:
        """Length of the flat sequence."""
        return sum(group.num_samples * group.num_tokens for group in self.groups)

    def at_level(self, level: int) -> "TokenLayout":
        """Return the part of the layout that holds one level (0-based), for cached work."""
        groups = []
        for group in self.groups:
            if level < len(group.tile_sizes):
                start = group.level_stops[level - 1] if level else 0
                stop = group.level_stops[level]
                groups.append(
                    TokenGroup(
                        group.key,
                        group.samples,
                        group.patches[:, start:stop],
                        group.tile_sizes[: level + 1],
                        first_level=level,
                        capacity=group.level_stops[-2] if len(group.level_stops) > 1 else 0,
                    )
                )
        return TokenLayout(self.shape, self.num_levels, tuple(groups))

    def _level_of_token(self, group: TokenGroup) -> Tensor:
        counts = [sum(sizes) for sizes in group.tile_sizes[group.first_level :]]
        levels = torch.arange(group.first_level, len(group.tile_sizes))
        return levels.repeat_interleave(torch.tensor(counts))

    @cached_property
    def token_index(self) -> Tensor:
        """Row of each token in latents viewed as (b * t * h * w * n, c)."""
        patches = self.shape[1] * self.shape[2] * self.shape[3]
        rows = []
        for group in self.groups:
            patch = group.samples[:, None] * patches + group.patches
            rows.append((patch * self.num_levels + self._level_of_token(group)).flatten())
        return torch.cat(rows)

    def gather(self, latents: Tensor) -> Tensor:
        """Collect active tokens: (b, t, h, w, n, c) to (tokens, c)."""
        return latents.flatten(0, -2).index_select(0, self.token_index.to(latents.device))

    def scatter(self, sequence: Tensor) -> Tensor:
        """Put tokens back: (tokens, c) to (b, t, h, w, n, c); inactive tokens are zero."""
        b, t, h, w = self.shape
        latents = sequence.new_zeros(b * t * h * w * self.num_levels, sequence.shape[-1])
        latents = latents.index_copy(0, self.token_index.to(sequence.device), sequence)
        return latents.view(b, t, h, w, self.num_levels, -1)

    def split(self, sequence: Tensor) -> Iterator[tuple[TokenGroup, Tensor]]:
        """Yield each group with its part of (tokens, ...) as (samples, tokens, ...)."""
        start = 0
        for group in self.groups:
            length = group.num_samples * group.num_tokens
            part = sequence[start : start + length]
            yield group, part.view(group.num_samples, group.num_tokens, *sequence.shape[1:])
            start += length

    def rotations(self, rope: GroupedRope, like: Tensor) -> tuple[Rotation, ...]:
        """Return the rotary embedding of each group's tokens."""
        coordinates = latent_coordinates(self.shape[1:], self.num_levels)
        return tuple(
            rope(coordinates[self._level_of_token(group), group.patches], like)
            for group in self.groups
        )
