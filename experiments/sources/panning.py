"""Clips made from photos: a window glides over a photo at a constant speed.

What moves is known exactly, at every size and frame rate: the window's path is a function of time
alone, and the last frame is the path's end. So a clip at 24 fps is every second frame of the same
clip at 48 fps, tail-aligned as the paper's clips are (Fig. 14b).
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from dcs_common.geometry import Rate, exact_rate
from dcs_common.resample import resize

WINDOW = 0.7
"""The window's sides over those of the largest rectangle of its shape that the photo holds."""
NEAR = 0.3
"""Ends of a path lie within this share of the room from opposite corners."""


def panned_clip(
    photo: Tensor, *, seconds: float, fps: Rate, size: tuple[int, int], seed: int
) -> Tensor:
    """Return a clip (3, T, h, w) in [0, 1] of a window that glides over a photo.

    The photo is resized first so that the window's pixels are its own, a small photo is therefore
    enlarged. Frames between whole pixels are interpolated cubically.

    Args:
        photo: (3, H, W) in [0, 1].
        seconds: how long the path takes; there are ``round(seconds * fps)`` frames, one at least.
        fps: frames per second.
        size: (height, width) of the clip.
        seed: draws the path, the same one at every size and rate.

    Raises:
        ValueError: if the photo is not (3, H, W), or a duration, rate or size is not positive.
    """
    _check(photo, seconds, size)
    rate = float(exact_rate(fps))
    height, width = size
    scale = max(height / photo.shape[-2], width / photo.shape[-1]) / WINDOW
    scaled = resize(photo, (round(scale * photo.shape[-2]), round(scale * photo.shape[-1])))
    room = torch.tensor([scaled.shape[-2] - height, scaled.shape[-1] - width])
    start, end = _path_ends(seed)
    count = max(1, round(seconds * rate))
    time = 1 - torch.arange(count - 1, -1, -1, dtype=torch.float64) / (rate * seconds)
    offsets = room * (start + time.clamp(min=0)[:, None] * (end - start))  # (T, 2), in pixels
    padded = pad(scaled, (1, 2, 1, 2), mode="replicate")
    frames = [_window(padded, tuple(offset.tolist()), size) for offset in offsets]
    return torch.stack(frames, dim=1).clamp_(0, 1)


def _check(photo: Tensor, seconds: float, size: tuple[int, int]) -> None:
    if photo.ndim != 3 or photo.shape[0] != 3 or not photo.is_floating_point():
        raise ValueError(
            f"`photo` must be floats (3, H, W) in [0, 1], but is {photo.dtype} of shape "
            f"{tuple(photo.shape)}. Read it with `dcs_tok.pictures.read_picture(path).pixels[0]`."
        )
    if not seconds > 0:
        raise ValueError(f"`seconds` must be above 0, but is {seconds}. Give a clip's duration.")
    if min(size) < 2:
        raise ValueError(
            f"`size` must be at least 2x2, but is {size[1]}x{size[0]}. Ask for a larger window."
        )


def _path_ends(seed: int) -> tuple[Tensor, Tensor]:
    """Draw where a path begins and ends, as shares of the room along height and width."""
    draws = torch.rand(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    start, end = NEAR * draws[0], 1 - NEAR * draws[1]
    turned = draws[2] < 0.5
    return torch.where(turned, end, start), torch.where(turned, start, end)


def _window(photo: Tensor, offset: tuple[float, ...], size: tuple[int, int]) -> Tensor:
    """Cut a window at an offset (down, right) in pixels, of a photo padded by (1, 2)."""
    for dim, side, place in zip((-2, -1), size, offset, strict=True):
        first = int(place)  # whole pixels; the rest is a filter of four taps
        weights = _catmull_rom(place - first)
        taps = [w * photo.narrow(dim, first + tap, side) for tap, w in enumerate(weights)]
        photo = torch.stack(taps).sum(dim=0)
    return photo


def _catmull_rom(t: float) -> tuple[float, float, float, float]:
    """Return the weights of the pixels -1, 0, 1 and 2 for a place ``t`` between 0 and 1."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
