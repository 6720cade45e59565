"""What adapters of tokenizers without levels have in common: one level, one picture size."""

from dataclasses import dataclass

from torch import Tensor

from dcs_common.geometry import Rate
from dcs_common.resample import resize

#: What both adapters do where another size than the source's is asked for.
SCALE_RULE = "decoded at the source's size, then resized"


@dataclass(frozen=True, kw_only=True, slots=True)
class SingleLevelConfig:
    """The config of a tokenizer without levels.

    Attributes:
        latent_channels: numbers in a token; None where nothing says it.
        num_levels: 1.
    """

    latent_channels: int | None
    num_levels: int = 1


def check_request(
    fps: Rate | None, levels: int | Tensor | None, patches: int | None = None
) -> None:
    """Refuse what a tokenizer of pictures without levels cannot do.

    Raises:
        ValueError: if a frame rate, more than one level or a number of patches is asked for.
    """
    if fps is not None:
        raise ValueError(
            f"This tokenizer takes pictures, but `fps` is {fps}. Leave `fps` out and pass "
            "(b, 3, H, W)."
        )
    if levels is not None and not (isinstance(levels, int) and levels == 1):
        raise ValueError(
            f"`levels` must be 1 or None, but is {levels}. This tokenizer has no more."
        )
    if patches is not None:
        raise ValueError(
            f"`patches` must be None, but is {patches}. This tokenizer's patches have a fixed size."
        )


def check_pixels(pixels: Tensor) -> None:
    """Refuse what are no pictures.

    Raises:
        ValueError: if the pixels are no floats (b, 3, H, W).
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3 or not pixels.is_floating_point():
        raise ValueError(
            f"`pixels` must be floats (b, 3, H, W) in [0, 1], but are {pixels.dtype} "
            f"{tuple(pixels.shape)}. Pass RGB pictures."
        )


def at_size(pixels: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Return decoded pixels at the size asked for, resized where that is not their own."""
    if size is None or tuple(size) == tuple(pixels.shape[-2:]):
        return pixels
    return resize(pixels, size).clamp(0, 1)
