"""Patches are cut out of pixels and put back without loss, in any parts and any order."""

from fractions import Fraction as F

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.geometry import (
    PatchGrid,
    PatchGroup,
    frames_at_rate,
    segment_frames,
    source_grid,
)


@st.composite
def grids(draw: st.DrawFn) -> PatchGrid:
    """Grids over any size, clips at any rate, also decoded at another one."""
    height, width = draw(st.integers(1, 23)), draw(st.integers(1, 29))
    rows, columns = draw(st.integers(1, height)), draw(st.integers(1, width))
    fps = draw(st.none() | st.integers(6, 40).map(F))
    if fps is None:
        return PatchGrid((height, width), rows, columns, segment_frames(1, None, 6))
    frames, target = draw(st.integers(1, 13)), draw(st.integers(6, 40).map(F))
    segments = len(segment_frames(frames, fps, 6))
    spans = segment_frames(frames_at_rate(frames, fps, target), target, 6, F(0), segments)
    return PatchGrid((height, width), rows, columns, spans)


def numbered(grid: PatchGrid, b: int = 2, c: int = 3) -> Tensor:
    """Pixels that are all different."""
    shape = (b, c, grid.num_frames, *grid.size)
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float64).view(shape)


def parts(grid: PatchGrid, most: int) -> list[PatchGroup]:
    return [part for group in grid.groups for part in group.split(most)]


@given(grid=grids(), most=st.integers(1, 40), seed=st.integers(0, 99))
def test_take_and_put_are_inverse(grid: PatchGrid, most: int, seed: int) -> None:
    pixels = numbered(grid)
    canvas = torch.full_like(pixels, torch.nan)
    some = parts(grid, most)
    order = torch.randperm(len(some), generator=torch.Generator().manual_seed(seed))
    for i in order.tolist():
        grid.put(canvas, some[i], grid.take(pixels, some[i]))
    assert torch.equal(canvas, pixels)


@given(grid=grids(), most=st.integers(1, 40), seed=st.integers(0, 99))
def test_take_and_assemble_are_inverse(grid: PatchGrid, most: int, seed: int) -> None:
    pixels = numbered(grid)
    some = parts(grid, most)
    order = torch.randperm(len(some), generator=torch.Generator().manual_seed(seed))
    cut = [(some[i], grid.take(pixels, some[i])) for i in order.tolist()]
    assert torch.equal(grid.assemble(cut), pixels)


@given(grid=grids())
def test_patches_are_the_blocks_between_edges(grid: PatchGrid) -> None:
    pixels = numbered(grid)
    for group in grid.groups:
        patches = grid.take(pixels, group)
        for flat, patch in zip(grid.patch_index(group).tolist(), patches.unbind(1), strict=True):
            segment, place = divmod(flat, grid.rows * grid.columns)
            row, column = divmod(place, grid.columns)
            span = grid.spans[segment]
            block = pixels[
                :,
                :,
                span.start : span.stop,
                grid.row_edges[row] : grid.row_edges[row + 1],
                grid.column_edges[column] : grid.column_edges[column + 1],
            ]
            assert span.times == group.times
            assert torch.equal(patch, block.movedim(1, -1))


@given(grid=grids(), most=st.integers(1, 40))
def test_splits_are_small_and_cover_their_group(grid: PatchGrid, most: int) -> None:
    for group in grid.groups:
        some = list(group.split(most))
        assert all(part.num_patches <= most for part in some)
        joined = torch.cat([grid.patch_index(part) for part in some])
        assert sorted(joined.tolist()) == sorted(grid.patch_index(group).tolist())
        assert len(joined) == group.num_patches
        for part in some:
            assert part.pixels_per_patch == group.pixels_per_patch
            assert part.times == group.times


def test_split_takes_whole_rows_where_they_fit() -> None:
    group = PatchGroup((0, 1), (0, 1, 2), (0, 1, 2, 3, 4), 2, 2, (F(1),))
    assert [part.num_patches for part in group.split(11)] == [10, 5, 10, 5]
    assert [part.num_patches for part in group.split(3)] == [3, 2] * 6


@given(grid=grids())
def test_assembling_passes_each_pixels_gradient_to_its_patch(grid: PatchGrid) -> None:
    some = parts(grid, 7)
    cut = [grid.take(numbered(grid), part).requires_grad_() for part in some]
    cotangent = numbered(grid).flip(0, 2, 3)
    joined = grid.assemble(list(zip(some, cut, strict=True)))
    gradients = torch.autograd.grad(joined, cut, cotangent)
    for part, gradient in zip(some, gradients, strict=True):
        assert torch.equal(gradient, grid.take(cotangent, part))


def test_pixels_need_not_be_contiguous() -> None:
    grid = source_grid((17, 13), 5, F(11), patches=5, segments_per_second=6)
    pixels = numbered(grid)
    turned = pixels.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    assert not turned.is_contiguous()
    for group in grid.groups:
        assert torch.equal(grid.take(turned, group), grid.take(pixels, group))


def test_a_segment_without_frames_has_no_patches_to_cut() -> None:
    """Four frames at 18 fps are two segments; at 9 fps the first is stepped over."""
    spans = segment_frames(2, F(9), 6, F(0), 2)
    assert not spans[0].times
    grid = PatchGrid((5, 7), 2, 3, spans)
    assert grid.shape == (2, 2, 3)
    assert {group.segments for group in grid.groups} == {(1,)}
    pixels = numbered(grid)
    cut = [(group, grid.take(pixels, group)) for group in grid.groups]
    assert torch.equal(grid.assemble(cut), pixels)
