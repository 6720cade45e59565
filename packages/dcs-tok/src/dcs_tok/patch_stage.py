"""Patchifier, depatchifier and canonical code over all patches of a batch, piece by piece.

Segment after segment, patches of one shape are cut out of the pixels in parts that memory can hold.
They go through the patch networks in pieces that share their level count
(:mod:`dcs_tok.patch_work`), and through the canonical code as one picture
(:mod:`dcs_tok.canonical_stage`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from dcs_common.geometry import PatchGrid, PatchGroup
from dcs_common.recompute import call
from dcs_tok.canonical_patch import read_frames, temporal_matrices, to_canonical
from dcs_tok.canonical_stage import CanonicalStage
from dcs_tok.config import DCSTokConfig
from dcs_tok.depatchifier import Depatchifier, PixelQueries
from dcs_tok.patch_work import WorkPlan, by_level_count, plan_work, restore_order
from dcs_tok.patchifier import Patchifier
from dcs_tok.pixel_tokens import PixelTokens

Progress = Callable[[int, int], None]


@dataclass
class PatchStage:
    """The per-patch half of a tokenizer, for one call.

    Attributes:
        config, patchifier, depatchifier: the tokenizer's.
        still, moving: its canonical code, if it has one.
        like: a tensor of the model's type and place.
        max_memory: bytes for what is alive at once.
        recompute: keep only the inputs of patch networks for the backward pass.
        on_progress: called with (patches just done, patches in all).
        patches_at_once: of the patch networks; None chooses it.
        shared: pixel queries by patch shape, kept between previews.
    """

    config: DCSTokConfig
    patchifier: Patchifier | None
    depatchifier: Depatchifier | None
    still: CanonicalStage | None
    moving: CanonicalStage | None
    like: Tensor
    max_memory: int
    recompute: bool = False
    on_progress: Progress | None = None
    patches_at_once: int | None = None
    shared: dict[PatchGroup, PixelQueries] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pixel_tokens = PixelTokens(self.config)

    def encode(
        self, clip: Tensor, grid: PatchGrid, level_map: Tensor, num_levels: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return tokens (b, t, h, w, n, width) and the canonical code (..., d), each or None.

        Args:
            clip: (b, 3, T, H, W).
            grid: over the clip.
            level_map: (b, t, h, w) on the CPU.
            num_levels: n of the result; tokens above a patch's count are zero.
        """
        counts = level_map.flatten()
        where: list[Tensor] = []
        tokens: list[Tensor] = []
        codes: list[Tensor] = []
        for parts in self._parts_of_segments(grid, len(clip)):
            picture: list[tuple[Tensor, Tensor]] = []
            for part in parts:
                index = self._batch_index(grid, part, len(clip))
                patches = grid.take(clip, part).flatten(0, 1).to(self.like)
                canonical = self._to_canonical(patches, part)
                if self.still is not None and canonical is not None:
                    picture.append((index, canonical))
                if self.patchifier is not None:
                    self._patchify(
                        patches, canonical, part, counts, index, num_levels, where, tokens
                    )
                self._report(len(index), len(counts))
            if picture:
                codes.append(self._encode_picture(picture, grid, num_levels))
        code = None
        if codes:
            code = torch.stack(codes, dim=1)
            active = torch.arange(num_levels) < level_map.unsqueeze(-1)
            code = code * active.unsqueeze(-1).to(code)
        if not tokens:
            return None, code
        rows, joined = torch.cat(where).to(clip.device), torch.cat(tokens)
        empty = joined.new_zeros(len(counts) * num_levels, joined.shape[1])
        placed = empty.index_copy(0, rows, joined)
        return placed.view(*level_map.shape, num_levels, -1), code

    def _patchify(
        self,
        patches: Tensor,
        canonical: Tensor | None,
        part: PatchGroup,
        counts: Tensor,
        index: Tensor,
        num_levels: int,
        where: list[Tensor],
        tokens: list[Tensor],
    ) -> None:
        """Append the rows and values of a part's tokens."""
        assert self.patchifier is not None, "only called for models with a patchifier"
        coordinates = self.pixel_tokens.encoding_coordinates(part)
        at_once = self._plan(part).patches_at_once
        for count, piece in by_level_count(counts[index], at_once):
            chosen = piece.to(patches.device)
            some = patches if len(piece) == len(patches) else patches.index_select(0, chosen)
            if canonical is not None:
                cells = canonical.index_select(0, chosen)
                inputs = self.pixel_tokens.embeddable(some, cells)
            else:
                inputs = self.pixel_tokens.embeddable(some, None)
            out = call(self.patchifier, inputs, coordinates, count, recompute=self.recompute)
            tokens.append(out.flatten(0, 1))
            where.append((index[piece][:, None] * num_levels + torch.arange(count)).flatten())

    def _to_canonical(self, patches: Tensor, group: PatchGroup) -> Tensor | None:
        canonical = self.config.canonical
        if canonical is None:
            return None
        return to_canonical(patches, group.times, canonical.frames, canonical.grid)

    def _encode_picture(
        self, pieces: list[tuple[Tensor, Tensor]], grid: PatchGrid, num_levels: int
    ) -> Tensor:
        """Encode one segment's canonical patches, given with their batch indices."""
        _, rows, columns = grid.shape
        order = torch.cat([index for index, _ in pieces]).argsort()
        values = torch.cat([value for _, value in pieces])
        values = values.index_select(0, order.to(values.device))
        stage = self.still if values.shape[1] == 1 else self.moving
        assert stage is not None, "pictures are only gathered for models with a canonical code"
        picture = values.view(-1, rows, columns, *values.shape[1:])
        return stage.encode(picture, num_levels)

    def _parts_of_segments(self, grid: PatchGrid, batch: int) -> Iterator[list[PatchGroup]]:
        """Yield, for each segment with frames, parts of the grid that memory can hold."""
        parts = [
            part
            for group in grid.groups
            for part in group.split(max(1, self._plan(group).patches_in_memory // batch))
        ]
        parts.sort(key=lambda part: part.segments[0])
        for _, members in groupby(parts, key=lambda part: part.segments[0]):
            yield list(members)

    @staticmethod
    def _batch_index(grid: PatchGrid, group: PatchGroup, batch: int) -> Tensor:
        """Flat (sample, segment, row, column) index of a group's patches, sample-major."""
        segments, rows, columns = grid.shape
        first = torch.arange(batch)[:, None] * (segments * rows * columns)
        return (first + grid.patch_index(group)).flatten()

    def _plan(self, group: PatchGroup) -> WorkPlan:
        tokens = group.pixels_per_patch
        if self.config.pixel_tokens == "canonical":
            tokens = len(self.pixel_tokens.encoding_coordinates(group))
        networks = (self.config.patchifier, self.config.depatchifier)
        return plan_work(
            tokens + self.config.num_levels,
            max((network.width for network in networks if network is not None), default=1),
            3 * group.pixels_per_patch,
            self.like.element_size(),
            self.max_memory,
            self.patches_at_once,
            on_cpu=self.like.device.type == "cpu",
        )

    def decode(
        self,
        tokens: Tensor | None,
        codes: Tensor,
        grid: PatchGrid,
        level_map: Tensor,
        is_still: tuple[bool, ...],
        level: int | None = None,
        current: Tensor | None = None,
    ) -> Iterator[tuple[PatchGroup, Tensor]]:
        """Yield parts of the grid with their patches (b * patches, f, h, w, 3), not clamped.

        Args:
            tokens: (b, t, h, w, n, width) from the decoder trunk, or None without one.
            codes: (b, t, h, w, n, d), the latents, for the canonical code.
            grid: over the pixels that are asked for.
            level_map: (b, t, h, w) on the CPU.
            is_still: of each segment, whether the source had one frame there.
            level: for progressive work: use levels up to this one, and pass over patches that
                have fewer, which are finished.
            current: (b, 3, T, H, W), the pixels so far, where finished patches are taken from.
        """
        batch = len(level_map)
        counts = level_map.flatten()
        if level is not None:
            counts = counts.clamp(max=level)
        by_patch = None if tokens is None else tokens.flatten(0, 3)
        for parts in self._parts_of_segments(grid, batch):
            segment = parts[0].segments[0]
            shown = counts.view_as(level_map)[:, segment]
            if level is not None and not bool((shown == level).any()):
                continue
            frames = self._decode_picture(codes[:, segment], shown, is_still[segment], level)
            for part in parts:
                index = self._batch_index(grid, part, batch)
                finished = None
                if level is not None:
                    done = counts[index] < level
                    if bool(done.all()):
                        continue
                    if bool(done.any()):
                        assert current is not None, "progressive work brings its pixels"
                        finished = grid.take(current, part).flatten(0, 1)
                pieces = []
                for count, piece in by_level_count(counts[index], self._plan(part).patches_at_once):
                    if finished is not None and level is not None and count < level:
                        pieces.append((piece, finished[piece.to(finished.device)]))
                        continue
                    rows = index[piece].to(codes.device)
                    outputs = None
                    if by_patch is not None and self.depatchifier is not None:
                        latents, shared = by_patch[rows, :count], self._queries(part)
                        outputs = self.depatchifier(latents, shared, recompute=self.recompute)
                    linear = self._read_picture(frames, part, grid, index[piece])
                    pieces.append((piece, self.pixel_tokens.read(outputs, linear, part)))
                    self._report(len(piece), len(counts))
                yield part, restore_order(pieces)

    def _queries(self, part: PatchGroup) -> PixelQueries:
        shape = PatchGroup((0,), (0,), (0,), part.height, part.width, part.times)
        if shape not in self.shared:
            assert self.depatchifier is not None, "only called for models with a depatchifier"
            coordinates = self.pixel_tokens.decoding_coordinates(part)
            self.shared[shape] = self.depatchifier.prepare(coordinates)
        return self.shared[shape]

    def _decode_picture(
        self, codes: Tensor, level_map: Tensor, is_still: bool, level: int | None
    ) -> Tensor | None:
        """Decode one segment's canonical picture (b, h, w, F, g, g, 3)."""
        stage = self.still if is_still else self.moving
        return None if stage is None else stage.decode(codes, level_map, level)

    @staticmethod
    def _read_picture(
        frames: Tensor | None, part: PatchGroup, grid: PatchGrid, index: Tensor
    ) -> Tensor | None:
        """Read canonical frames of patches, given by their batch index, at a part's times."""
        if frames is None:
            return None
        segments, rows, columns = grid.shape
        sample = index.div(segments * rows * columns, rounding_mode="floor")
        place = sample * (rows * columns) + index % (rows * columns)
        chosen = frames.flatten(0, 2).index_select(0, place.to(frames.device))
        return read_frames(chosen, temporal_matrices(part.times, chosen.shape[1])[1])

    def _report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)
