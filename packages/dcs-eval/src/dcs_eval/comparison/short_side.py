"""Pictures at smaller scales: the same content, told in fewer pixels."""

from torch import Tensor

from dcs_common.resample import resize
from dcs_eval.eight_bit import to_bytes


def size_at_short_side(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return (height, width) with the same aspect and ``side`` pixels on the short side."""
    short = min(size)
    height, width = (max(side, round(extent * side / short)) for extent in size)
    return height, width


def at_short_side(pixels: Tensor, side: int, name: str) -> Tensor:
    """Return a picture reduced to ``side`` pixels on its short side, in 8-bit steps.

    Antialiased (triangle filter, pixel centres), and rounded as a file of that size would be. A
    picture of that size already comes back as it is.

    Args:
        pixels: (1, 3, H, W) in [0, 1].
        side: of the short side in pixels.
        name: of the picture, for the message.

    Raises:
        ValueError: if the picture is smaller: enlarged ones hold no more than they did.
    """
    height, width = pixels.shape[-2:]
    if min(height, width) < side:
        raise ValueError(
            f"Pictures must have at least {side} pixels on the short side, as enlarged ones hold "
            f"no more than before, but {name} is {width}x{height}. Leave it out, or that side."
        )
    if min(height, width) == side:
        return pixels
    size = size_at_short_side((height, width), side)
    return to_bytes(resize(pixels, size, alignment="center")).to(pixels.dtype).div(255)
