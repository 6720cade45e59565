"""How many patches a picture has and where their edges lie (Eq. 1)."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.geometry import (
    PatchGrid,
    patch_counts,
    patch_edges,
    patches_of_side,
    segment_frames,
    source_grid,
)

SIDE = st.integers(16, 2000)


@pytest.mark.parametrize(
    ("side", "fps", "pixels", "frames"), [(16, 2, 8, 2), (32, 4, 16, 4), (48, 10, 24, 10)]
)
def test_worked_example_of_eq_1(side: int, fps: int, pixels: int, frames: int) -> None:
    """With k = 2 and k_t = 1, three seconds are 3 x 2 x 2 patches at every scale."""
    grid = source_grid((side, side), 3 * fps, Fraction(fps), patches=2, segments_per_second=1)
    assert grid.shape == (3, 2, 2)
    (group,) = grid.groups
    assert (len(group.times), group.height, group.width) == (frames, pixels, pixels)


@pytest.mark.parametrize(("side", "pixels"), [(256, 16), (512, 32), (720, 45)])
def test_default_k_gives_the_papers_patch_sizes(side: int, pixels: int) -> None:
    grid = source_grid((side, side), 1, None, patches=16, segments_per_second=6)
    assert grid.shape == (1, 16, 16)
    (group,) = grid.groups
    assert (group.times, group.height, group.width) == ((Fraction(1),), pixels, pixels)


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ((256, 256), (16, 16)),
        ((256, 512), (16, 32)),
        ((1080, 1920), (16, 28)),  # 28.44
        ((32, 33), (16, 17)),  # 16.5 goes up
        ((33, 32), (17, 16)),
        ((64, 65), (16, 16)),  # 16.25
    ],
)
def test_long_side_is_rounded_half_up(size: tuple[int, int], counts: tuple[int, int]) -> None:
    assert patch_counts(size, 16) == counts


@given(short=st.integers(1, 60), long=st.integers(1, 60), k=st.integers(1, 20), scale=SIDE)
def test_counts_depend_on_the_aspect_ratio_alone(short: int, long: int, k: int, scale: int) -> None:
    """The latent of one content has one shape at every scale."""
    size = (short * 20, long * 20)
    counts = patch_counts(size, k)
    assert patch_counts((size[0] * scale, size[1] * scale), k) == counts
    assert patch_counts(size[::-1], k) == counts[::-1]
    assert min(counts) == k


@pytest.mark.parametrize(
    ("side", "pixels", "patches"),
    [(64, 16, 4), (128, 16, 8), (256, 16, 16), (24, 16, 2), (23, 16, 1), (1, 16, 1), (5, 2, 3)],
)
def test_patches_of_one_size_are_rounded_half_up_and_at_least_one(
    side: int, pixels: int, patches: int
) -> None:
    assert patches_of_side(side, pixels) == patches


@given(side=st.integers(1, 2000), pixels=st.integers(1, 100))
def test_patches_of_one_size_always_fit(side: int, pixels: int) -> None:
    k = patches_of_side(side, pixels)
    assert 1 <= k <= side
    assert abs(k * pixels - side) <= max(pixels / 2, pixels - side)


@given(height=SIDE, width=SIDE, k=st.integers(1, 16))
def test_patch_sizes_differ_by_at_most_one_pixel(height: int, width: int, k: int) -> None:
    rows, columns = patch_counts((height, width), k)
    for extent, count in ((height, rows), (width, columns)):
        edges = patch_edges(extent, count)
        sizes = [stop - start for start, stop in pairwise(edges)]
        assert (edges[0], edges[-1], len(sizes)) == (0, extent, count)
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1


@given(extent=st.integers(1, 2000), data=st.data())
def test_edges_are_the_nearest_pixel_edges(extent: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, extent))
    for i, edge in enumerate(patch_edges(extent, count)):
        exact = Fraction(i * extent, count)
        assert exact - Fraction(1, 2) < edge <= exact + Fraction(1, 2)


@given(height=SIDE, width=SIDE, k=st.integers(1, 16))
def test_groups_hold_every_patch_once_with_its_own_size(height: int, width: int, k: int) -> None:
    grid = source_grid((height, width), 1, None, patches=k, segments_per_second=6)
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for group in grid.groups:
        for row in group.rows:
            for column in group.columns:
                assert (row, column) not in sizes
                sizes[row, column] = (group.height, group.width)
    assert sizes == {
        (row, column): (
            grid.row_edges[row + 1] - grid.row_edges[row],
            grid.column_edges[column + 1] - grid.column_edges[column],
        )
        for row in range(grid.rows)
        for column in range(grid.columns)
    }


def test_one_grid_lies_over_every_size_that_has_its_pixels() -> None:
    """Decoding keeps the grid, whatever aspect ratio is asked for."""
    spans = segment_frames(1, None, 6)
    for size in ((5, 7), (7, 5 * 7), (1999, 7)):
        grid = PatchGrid(size, 5, 7, spans)
        assert sum(group.num_patches * group.pixels_per_patch for group in grid.groups) == (
            size[0] * size[1]
        )
