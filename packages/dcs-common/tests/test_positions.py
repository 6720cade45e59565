"""Coordinates of pixel and latent tokens (Sec. 6.2, Fig. 14)."""

from fractions import Fraction as F

import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.geometry import source_grid
from dcs_common.positions import latent_coordinates, level_coordinates, pixel_coordinates

EXTENT = st.integers(2, 13)


@given(height=EXTENT, width=EXTENT, frames=st.integers(1, 5))
def test_corners_and_the_last_frame_are_exact_at_every_scale(
    height: int, width: int, frames: int
) -> None:
    """A higher resolution or rate is an interpolation of the same interval."""
    times = [F(i + 1, frames) for i in range(frames)]
    pixels = pixel_coordinates(times, height, width).view(frames, height, width, 4)
    corners = pixels[-1][[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert torch.equal(pixels[..., 0].amin((1, 2)), pixels[..., 0].amax((1, 2)))
    assert pixels[:, 0, 0, 0].tolist() == [float(time) for time in times]
    steps = pixels[0, 1:, 0, 1] - pixels[0, :-1, 0, 1]
    assert (steps - 1 / (height - 1)).abs().max() < 1e-12
    steps = pixels[0, 0, 1:, 2] - pixels[0, 0, :-1, 2]
    assert (steps - 1 / (width - 1)).abs().max() < 1e-12


def test_an_axis_of_one_pixel_is_in_the_middle() -> None:
    pixels = pixel_coordinates([F(1)], 1, 3)
    assert pixels.tolist() == [[1, 0.5, 0, 0], [1, 0.5, 0.5, 0], [1, 0.5, 1, 0]]


def test_pixel_centres_are_a_setting() -> None:
    pixels = pixel_coordinates([F(1, 2)], 2, 2, "center")
    assert pixels.tolist() == [
        [0.5, 0.25, 0.25, 0],
        [0.5, 0.25, 0.75, 0],
        [0.5, 0.75, 0.25, 0],
        [0.5, 0.75, 0.75, 0],
    ]


def test_pixels_are_ordered_frame_row_column() -> None:
    pixels = pixel_coordinates([F(1, 2), F(1)], 3, 5).view(2, 3, 5, 4)
    assert pixels[1, 2, 1].tolist() == [1, 1, 0.25, 0]


def test_latent_tokens_of_a_patch_have_their_level_only() -> None:
    """Levels are counted from 1 and not divided by n: four levels can grow to eight."""
    assert level_coordinates(3).tolist() == [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3]]
    assert torch.equal(level_coordinates(8)[:4], level_coordinates(4))


@given(
    segments=st.integers(1, 5),
    rows=st.integers(1, 11),
    columns=st.integers(1, 11),
    n=st.integers(1, 4),
)
def test_the_short_side_spans_one_on_both_axes(
    segments: int, rows: int, columns: int, n: int
) -> None:
    k = min(rows, columns)
    grid = latent_coordinates((segments, rows, columns), n).view(n, segments, rows, columns, 4)
    for level in range(n):
        for segment in range(segments):
            for row in range(rows):
                for column in range(columns):
                    assert grid[level, segment, row, column].tolist() == [
                        segment,
                        (row + 0.5) / k,
                        (column + 0.5) / k,
                        level + 1,
                    ]


def test_two_scales_of_one_clip_have_the_same_coordinates() -> None:
    def coordinates(size: tuple[int, int], frames: int, fps: F) -> torch.Tensor:
        grid = source_grid(size, frames, fps, patches=5, segments_per_second=6)
        return latent_coordinates(grid.shape, 3)

    small, large = coordinates((35, 49), 8, F(12)), coordinates((350, 490), 40, F(60))
    assert torch.equal(small, large)
