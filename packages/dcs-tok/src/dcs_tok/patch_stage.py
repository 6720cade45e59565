"""Patchifier, depatchifier and linear path over all patches of a batch, piece by piece.

Patches of one shape are cut out of the pixels in parts that memory can hold, and go through the
networks in pieces that share their level count (:mod:`dcs_tok.patch_work`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dcs_common.geometry import PatchGrid, PatchGroup
from dcs_tok.canonical_patch import to_canonical
from dcs_tok.config import DCSTokConfig
from dcs_tok.depatchifier import Depatchifier, PixelQueries
from dcs_tok.linear_path import LinearPath
from dcs_tok.patch_work import WorkPlan, by_level_count, plan_work, restore_order
from dcs_tok.patchifier import Patchifier
from dcs_tok.pixel_tokens import PixelTokens

Progress = Callable[[int, int], None]


@dataclass
class PatchStage:
    """The per-patch half of a tokenizer, for one call.

    Attributes:
        config, patchifier, depatchifier, linear_path: the tokenizer's.
        max_memory: bytes for what is alive at once.
        on_progress: called with (patches just done, patches in all).
        shared: pixel queries by patch shape, kept between previews.
    """

    config: DCSTokConfig
    patchifier: Patchifier
    depatchifier: Depatchifier
    linear_path: LinearPath | None
    max_memory: int
    on_progress: Progress | None = None
    shared: dict[PatchGroup, PixelQueries] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pixel_tokens = PixelTokens(self.config)

    def encode(
        self, clip: Tensor, grid: PatchGrid, level_map: Tensor, num_levels: int
    ) -> tuple[Tensor, Tensor | None]:
        """Return tokens (b, t, h, w, n, width) and the linear path's code (..., d), or None.

        Args:
            clip: (b, 3, T, H, W).
            grid: over the clip.
            level_map: (b, t, h, w) on the CPU.
            num_levels: n of the result; tokens above a patch's count are zero.
        """
        counts = level_map.flatten()
        where, tokens, linear = [], [], []
        for group in grid.groups:
            plan = self._plan(group, self.config.patchifier.width)
            coordinates = self.pixel_tokens.encoding_coordinates(group)
            for part in group.split(max(1, plan.patches_in_memory // len(clip))):
                index = self._batch_index(grid, part, len(clip))
                patches = grid.take(clip, part).flatten(0, 1).to(self.patchifier.latent_tokens)
                for count, piece in by_level_count(counts[index], plan.patches_at_once):
                    some = patches
                    if len(piece) < len(patches):
                        some = patches.index_select(0, piece.to(patches.device))
                    canonical = self._to_canonical(some, part)
                    inputs = self.pixel_tokens.embeddable(some, canonical)
                    tokens.append(self.patchifier(inputs, coordinates, count).flatten(0, 1))
                    if self.linear_path is not None and canonical is not None:
                        linear.append(self.linear_path.encode(canonical, count).flatten(0, 1))
                    row = index[piece][:, None] * num_levels + torch.arange(count)
                    where.append(row.flatten())
                    self._report(len(piece), len(counts))
        rows = torch.cat(where).to(clip.device)

        def place(values: list[Tensor]) -> Tensor:
            joined = torch.cat(values)
            empty = joined.new_zeros(len(counts) * num_levels, joined.shape[1])
            return empty.index_copy(0, rows, joined).view(*level_map.shape, num_levels, -1)

        return place(tokens), place(linear) if linear else None

    def _to_canonical(self, patches: Tensor, group: PatchGroup) -> Tensor | None:
        canonical = self.config.canonical
        if canonical is None:
            return None
        return to_canonical(patches, group.times, canonical.frames, canonical.grid)

    @staticmethod
    def _batch_index(grid: PatchGrid, group: PatchGroup, batch: int) -> Tensor:
        """Flat (sample, segment, row, column) index of a group's patches, sample-major."""
        segments, rows, columns = grid.shape
        first = torch.arange(batch)[:, None] * (segments * rows * columns)
        return (first + grid.patch_index(group)).flatten()

    def _plan(self, group: PatchGroup, width: int) -> WorkPlan:
        tokens = group.pixels_per_patch
        if self.config.pixel_tokens == "canonical":
            tokens = len(self.pixel_tokens.encoding_coordinates(group))
        weight = self.patchifier.latent_tokens
        return plan_work(
            tokens + self.config.num_levels,
            width,
            3 * group.pixels_per_patch,
            weight.element_size(),
            self.max_memory,
            on_cpu=weight.device.type == "cpu",
        )

    def decode(
        self,
        tokens: Tensor,
        codes: Tensor,
        grid: PatchGrid,
        level_map: Tensor,
        is_still: tuple[bool, ...],
        level: int | None = None,
        current: Tensor | None = None,
    ) -> Iterator[tuple[PatchGroup, Tensor]]:
        """Yield parts of the grid with their patches (b * patches, f, h, w, 3), not clamped.

        Args:
            tokens: (b, t, h, w, n, width) from the decoder trunk.
            codes: (b, t, h, w, n, d), the latents, for the linear path.
            grid: over the pixels that are asked for.
            level_map: (b, t, h, w) on the CPU.
            is_still: of each segment, whether the source had one frame there.
            level: for progressive work: use levels up to this one, and pass over patches that
                have fewer, which are finished.
            current: (b, 3, T, H, W), the pixels so far, where finished patches are taken from.
        """
        batch = len(level_map)
        counts = level_map.flatten()
        by_patch, codes = tokens.flatten(0, 3), codes.flatten(0, 3)
        for group in grid.groups:
            if group not in self.shared:
                coordinates = self.pixel_tokens.decoding_coordinates(group)
                self.shared[group] = self.depatchifier.prepare(coordinates)
            plan = self._plan(group, self.config.depatchifier.width)
            for part in group.split(max(1, plan.patches_in_memory // batch)):
                index = self._batch_index(grid, part, batch)
                part_counts = counts[index]
                finished = None
                if level is not None:
                    done = part_counts < level
                    if bool(done.all()):
                        continue
                    if bool(done.any()):
                        assert current is not None, "progressive work brings its pixels"
                        finished = grid.take(current, part).flatten(0, 1)
                    part_counts = part_counts.clamp(max=level)
                pieces = []
                for count, piece in by_level_count(part_counts, plan.patches_at_once):
                    if finished is not None and level is not None and count < level:
                        pieces.append((piece, finished[piece.to(finished.device)]))
                        continue
                    rows = index[piece].to(tokens.device)
                    outputs = self.depatchifier(by_patch[rows, :count], self.shared[group])
                    linear = None
                    if self.linear_path is not None:
                        linear = self.linear_path.decode(
                            codes[rows, :count], part.times, is_still[part.segments[0]]
                        )
                    pieces.append((piece, self.pixel_tokens.read(outputs, linear, part)))
                    self._report(len(piece), len(counts))
                yield part, restore_order(pieces)

    def _report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)
