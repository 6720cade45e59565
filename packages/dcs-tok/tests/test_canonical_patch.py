"""The canonical patch: nothing lost towards the finer grid, nothing invented on the way back."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.resample import resize, sample_positions
from dcs_tok.canonical_patch import (
    from_canonical,
    spatial_matrices,
    temporal_matrices,
    to_canonical,
)

from .tiny_models import random_pixels

CLOSE = {"rtol": 0, "atol": 1e-9}
EXTENTS = st.integers(1, 61)
GRIDS = st.integers(1, 17)


def _tail_aligned(frames: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(i + 1, frames) for i in range(frames))


def _eye(size: int) -> torch.Tensor:
    return torch.eye(size, dtype=torch.float64)


@given(extent=EXTENTS, grid=GRIDS)
def test_the_finer_of_two_grids_keeps_all_of_the_coarser(extent: int, grid: int) -> None:
    fill, read = spatial_matrices(extent, grid)
    assert (fill.shape, read.shape) == ((grid, extent), (extent, grid))
    if extent >= grid:
        torch.testing.assert_close(fill @ read, _eye(grid), **CLOSE)
    if extent <= grid:
        torch.testing.assert_close(read @ fill, _eye(extent), **CLOSE)
    # There and back is a projection: what one grid cannot hold is dropped once.
    torch.testing.assert_close(read @ fill @ read @ fill, read @ fill, **CLOSE)
    torch.testing.assert_close(read @ fill, (read @ fill).T, **CLOSE)


@given(extent=EXTENTS, grid=GRIDS)
def test_flat_and_mirrored_patches_stay_so_in_both_directions(extent: int, grid: int) -> None:
    for matrix in spatial_matrices(extent, grid):
        ones = torch.ones(matrix.shape[1], dtype=torch.float64)
        torch.testing.assert_close(matrix @ ones, torch.ones_like(matrix[:, 0]), **CLOSE)
        torch.testing.assert_close(matrix.flip(0, 1), matrix, **CLOSE)


@given(extent=st.integers(2, 61), grid=st.integers(2, 17))
def test_ramps_are_read_as_ramps_and_written_back_by_finer_patches(extent: int, grid: int) -> None:
    fill, read = spatial_matrices(extent, grid)
    coarse, fine = sample_positions(grid), sample_positions(extent)
    torch.testing.assert_close(read @ coarse, fine, **CLOSE)
    if extent >= grid:
        torch.testing.assert_close(fill @ fine, coarse, **CLOSE)


@given(height=st.integers(1, 29), width=st.integers(1, 29), grid=GRIDS)
def test_reading_a_patch_is_a_cubic_resize_with_kept_corners(
    height: int, width: int, grid: int
) -> None:
    canonical = random_pixels(2, 3, grid, grid, 3)
    patches = from_canonical(canonical, height, width)
    expected = resize(canonical.permute(0, 1, 4, 2, 3), (height, width), kernel="cubic")
    torch.testing.assert_close(patches.permute(0, 1, 4, 2, 3), expected, **CLOSE)
    if grid > 1 and height >= grid and width >= grid:
        corners = (0, -1)
        for y in corners:
            for x in corners:
                torch.testing.assert_close(patches[:, :, y, x], canonical[:, :, y, x], **CLOSE)


@given(extent=st.integers(1, 15), grid=st.integers(2, 17), seed=st.integers(0, 99))
def test_small_patches_are_written_as_the_smoothest_that_read_as_them(
    extent: int, grid: int, seed: int
) -> None:
    extent = min(extent, grid - 1)
    fill, read = spatial_matrices(extent, grid)
    smoothest = fill @ random_pixels(extent, seed=seed)
    hidden = random_pixels(grid, seed=seed + 1) - 0.5
    hidden -= torch.linalg.pinv(read) @ read @ hidden  # what reading does not show
    roughness = [
        (smoothest + share * hidden).diff().square().sum() for share in (0, 1, -1, 0.01, -0.01)
    ]
    assert all(other >= roughness[0] for other in roughness[1:])
    torch.testing.assert_close(read @ (smoothest + hidden), read @ smoothest, **CLOSE)


@given(
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    frames=st.integers(1, 7),
    canonical_frames=st.integers(1, 5),
    grid=st.integers(1, 11),
)
def test_a_patch_no_finer_than_the_canonical_one_comes_back(
    height: int, width: int, frames: int, canonical_frames: int, grid: int
) -> None:
    height, width = min(height, grid), min(width, grid)
    frames = min(frames, canonical_frames)
    if canonical_frames % frames:
        frames = 1  # only then do all frame times lie on canonical ones
    patches = random_pixels(2, frames, height, width, 3)
    times = _tail_aligned(frames)
    canonical = to_canonical(patches, times, canonical_frames, grid)
    assert canonical.shape == (2, 1 if frames == 1 else canonical_frames, grid, grid, 3)
    read = temporal_matrices(times, canonical_frames)[1]
    if frames > 1:
        canonical = torch.einsum("ft,ptyxc->pfyxc", read, canonical)
    torch.testing.assert_close(from_canonical(canonical, height, width), patches, **CLOSE)


@given(
    height=st.integers(1, 41),
    width=st.integers(1, 41),
    times=st.integers(1, 4),
    canonical_frames=st.integers(2, 5),
    grid=st.integers(1, 11),
)
def test_a_canonical_patch_comes_back_from_any_finer_one(
    height: int, width: int, times: int, canonical_frames: int, grid: int
) -> None:
    height, width = max(height, grid), max(width, grid)
    asked = _tail_aligned(times * canonical_frames)
    canonical = random_pixels(2, canonical_frames, grid, grid, 3)
    read = temporal_matrices(asked, canonical_frames)[1]
    patches = torch.einsum("ft,ptyxc->pfyxc", read, from_canonical(canonical, height, width))
    back = to_canonical(patches, asked, canonical_frames, grid)
    torch.testing.assert_close(back, canonical, **CLOSE)


TIMES = st.lists(st.fractions(0, 1, max_denominator=30), min_size=1, max_size=9, unique=True)


@given(times=TIMES, frames=st.integers(1, 5))
def test_time_is_read_between_frames_and_held_before_the_first(
    times: list[Fraction], frames: int
) -> None:
    asked = tuple(sorted(times))
    fill, read = temporal_matrices(asked, frames)
    for matrix in (fill, read):
        ones = torch.ones(matrix.shape[1], dtype=torch.float64)
        torch.testing.assert_close(matrix @ ones, torch.ones_like(matrix[:, 0]), **CLOSE)
    canonical = random_pixels(frames)
    for time, value in zip(asked, (read @ canonical).tolist(), strict=True):
        place = max(float(time * frames) - 1, 0.0)  # canonical frame i lies at (i + 1) / F
        low = min(int(place), frames - 1)
        high = min(low + 1, frames - 1)
        expected = canonical[low] + (place - low) * (canonical[high] - canonical[low])
        assert value == pytest.approx(float(expected))


@given(frames=st.integers(1, 5), time=st.fractions(0, 1, max_denominator=30))
def test_a_single_frame_is_repeated_wherever_it_lies(frames: int, time: Fraction) -> None:
    fill, _ = temporal_matrices((time,), frames)
    assert torch.equal(fill, torch.ones(frames, 1, dtype=torch.float64))


def test_frames_are_filled_in_between_known_ones_and_held_beyond_them() -> None:
    fill, read = temporal_matrices((Fraction(1, 4), Fraction(3, 4)), 4)
    expected = [[1, 0], [0.5, 0.5], [0, 1], [0, 1]]
    assert fill.tolist() == expected
    assert read.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_resampling_moves_rows_columns_and_frames_each_along_their_own_axis() -> None:
    rows, columns, frames = (sample_positions(count) for count in (5, 7, 4))
    ramp = torch.stack(torch.meshgrid(frames, rows, columns, indexing="ij"), dim=-1)
    canonical = to_canonical(ramp[None], _tail_aligned(4), 2, 3)
    assert canonical.shape == (1, 2, 3, 3, 3)
    expected = sample_positions(3)
    torch.testing.assert_close(canonical[0, ..., 1], expected[:, None].expand(2, 3, 3), **CLOSE)
    torch.testing.assert_close(canonical[0, ..., 2], expected.expand(2, 3, 3), **CLOSE)
    assert (canonical[0, 1, ..., 0] > canonical[0, 0, ..., 0]).all()
    back = from_canonical(canonical, 5, 7)
    torch.testing.assert_close(back[0, 0, ..., 1:], ramp[0, ..., 1:], **CLOSE)


@given(times=TIMES, frames=st.integers(1, 5))
def test_writing_frames_never_amplifies_them_beyond_three_times(
    times: list[Fraction], frames: int
) -> None:
    fill, _ = temporal_matrices(tuple(sorted(times)), frames)
    assert fill.abs().sum(dim=1).max() <= 3 + 1e-9


def test_segments_of_25_fps_are_interpolated_where_their_inverse_would_explode() -> None:
    exploding = tuple(Fraction(time, 25) for time in (2, 8, 14, 20))
    fill, read = temporal_matrices(exploding, 4)
    assert fill[0].tolist() == pytest.approx([1 - 17 / 24, 17 / 24, 0, 0])
    assert fill[3].tolist() == [0, 0, 0, 1]
    ramp = torch.tensor([float(time) for time in exploding], dtype=torch.float64)
    assert (fill @ ramp).tolist() == pytest.approx([0.25, 0.5, 0.75, 0.8])
    assert torch.linalg.matrix_rank(read) == 4
