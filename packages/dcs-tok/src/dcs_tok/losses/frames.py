"""Clips as batches of frames: perceptual loss and discriminator judge every frame by itself."""

from einops import rearrange
from torch import Tensor


def frames_of(pixels: Tensor) -> Tensor:
    """Return images (b, 3, H, W) as they are and clips (b, 3, T, H, W) as (b * T, 3, H, W).

    Raises:
        ValueError: if the shape is neither.
    """
    if pixels.ndim not in (4, 5) or pixels.shape[1] != 3:
        raise ValueError(
            "Pixels must have the shape (b, 3, H, W) for images or (b, 3, T, H, W) for clips, "
            f"but have {tuple(pixels.shape)}. Add a batch axis, and convert to RGB."
        )
    return pixels if pixels.ndim == 4 else rearrange(pixels, "b c t h w -> (b t) c h w")
