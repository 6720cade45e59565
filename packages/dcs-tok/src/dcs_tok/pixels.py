"""Checks of what callers hand in."""

from fractions import Fraction

import torch
from torch import Tensor

from dcs_common.geometry import Rate, exact_rate


def check_pixels(pixels: Tensor, fps: Rate | None) -> tuple[Tensor, Fraction | None]:
    """Return pixels as (b, 3, T, H, W) and the exact rate (None for images).

    Raises:
        ValueError: if shape, dtype or values are not those of pictures in [0, 1], or a clip
            comes without a rate.
    """
    if not isinstance(pixels, Tensor) or pixels.ndim not in (4, 5) or pixels.shape[1] != 3:
        found = tuple(pixels.shape) if isinstance(pixels, Tensor) else type(pixels).__name__
        raise ValueError(
            "`pixels` must have the shape (b, 3, H, W) for images or (b, 3, T, H, W) for clips, "
            f"but is {found}. Add a batch axis, and convert to RGB."
        )
    if 0 in pixels.shape:
        raise ValueError(f"`pixels` must not be empty, but has the shape {tuple(pixels.shape)}.")
    if not pixels.is_floating_point():
        raise ValueError(
            f"`pixels` must be floats in [0, 1], but the dtype is {pixels.dtype}. "
            "Convert with `pixels.float() / 255`."
        )
    low, high = (float(bound) for bound in torch.aminmax(pixels.detach()))
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(
            f"`pixels` must be finite and in [0, 1], but range from {low:g} to {high:g}. "
            "Scale or clamp them, and remove NaN."
        )
    if pixels.ndim == 4:
        if fps is not None:
            raise ValueError(
                f"Images have no frame rate, but `fps` is {fps}. "
                "Leave it out, or pass a clip of shape (b, 3, T, H, W)."
            )
        return pixels.unsqueeze(2), None
    if fps is None:
        raise ValueError(
            f"A clip needs its frame rate, but `fps` is None for {pixels.shape[2]} frames. "
            "Pass `fps`."
        )
    return pixels, exact_rate(fps)


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) as integers.

    Raises:
        ValueError: if it is not a pair of positive integers.
    """
    try:
        height, width = size
        whole = int(height), int(width)
        if whole == (height, width) and min(whole) >= 1:
            return whole
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"`size` must be (height, width) in whole pixels, but is {size!r}.")
