"""Clips of a window over a photo: the path is one function of time, at every size and rate."""

import re

import pytest
import torch
from torch import Tensor

from sources.panning import panned_clip


def slope(height: int, width: int) -> Tensor:
    """A photo whose red says the row, green the column, both from 0 to 1."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(0, 1, width)[None, :].expand(height, width)
    return torch.stack([y, x, 0.5 * (x + y)])


def test_frames_of_half_the_rate_are_every_second_frame_to_the_end() -> None:
    photo = torch.rand(3, 61, 83, generator=torch.Generator().manual_seed(0))
    fast = panned_clip(photo, seconds=0.5, fps=48, size=(19, 23), seed=3)
    slow = panned_clip(photo, seconds=0.5, fps=24, size=(19, 23), seed=3)
    assert fast.shape == (3, 24, 19, 23) and slow.shape == (3, 12, 19, 23)
    torch.testing.assert_close(fast[:, 1::2], slow, atol=1e-5, rtol=0)


def test_the_window_moves_at_constant_speed_and_covers_a_share_of_the_photo() -> None:
    clip = panned_clip(slope(301, 401), seconds=1, fps=10, size=(60, 80), seed=1)
    row, column = clip[0, :, 30, 40], clip[1, :, 30, 40]
    for place in (row, column):
        steps = place.diff()
        torch.testing.assert_close(steps, steps[:1].expand(9), atol=2e-4, rtol=0)
        assert steps[0].abs() * 9 >= 0.3 * 0.4 * 0.9  # 0.3 is room, of which ends leave 0.4
    extent = clip[0, :, -1, 0] - clip[0, :, 0, 0]
    torch.testing.assert_close(extent, torch.full((10,), 0.7), atol=0.01, rtol=0)


def test_two_sizes_show_the_same_places() -> None:
    small = panned_clip(slope(211, 307), seconds=0.25, fps=24, size=(20, 30), seed=5)
    large = panned_clip(slope(211, 307), seconds=0.25, fps=24, size=(40, 60), seed=5)
    torch.testing.assert_close(small.mean((2, 3)), large.mean((2, 3)), atol=0.01, rtol=0)


def test_seeds_draw_paths() -> None:
    clips = [
        panned_clip(slope(50, 50), seconds=0.2, fps=10, size=(16, 16), seed=s) for s in (1, 1, 2)
    ]
    assert torch.equal(clips[0], clips[1]) and not torch.equal(clips[0], clips[2])


@pytest.mark.parametrize(
    ("photo", "seconds", "size", "message"),
    [
        (
            torch.zeros(1, 3, 8, 8),
            1,
            (4, 4),
            "`photo` must be floats (3, H, W) in [0, 1], but is torch.float32 of shape "
            "(1, 3, 8, 8). Read it with `dcs_tok.pictures.read_picture(path).pixels[0]`.",
        ),
        (
            torch.zeros(3, 8, 8),
            0,
            (4, 4),
            "`seconds` must be above 0, but is 0. Give a clip's duration.",
        ),
        (
            torch.zeros(3, 8, 8),
            1,
            (1, 4),
            "`size` must be at least 2x2, but is 4x1. Ask for a larger window.",
        ),
    ],
)
def test_what_makes_no_clip_is_refused(
    photo: Tensor, seconds: float, size: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        panned_clip(photo, seconds=seconds, fps=24, size=size, seed=0)
