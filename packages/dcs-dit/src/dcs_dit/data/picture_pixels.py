"""Pixels of a picture file at one size: upright, RGB, scaled to cover, cropped at the centre."""

import io
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image


def check_pillow() -> None:
    """Raise an error that says what to install, before anything is done.

    Raises:
        ValueError: if Pillow is missing.
    """
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise ValueError(
            "Reading pictures needs Pillow, but it is not installed. Install `dcs-dit[decode]`."
        ) from None


def decode_pixels(content: bytes, size: tuple[int, int]) -> Tensor:
    """Return a picture file's pixels: uint8 (3, height, width).

    The picture is scaled by Lanczos just so that it covers ``size``, unless it does so already,
    and its centre is cut out.

    Args:
        content: of the file.
        size: (height, width).

    Raises:
        Exception: of nearly any kind, if the file is damaged: Pillow's plugins raise what they
            like.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return covering_pixels(_to_rgb(ImageOps.exif_transpose(image)), size)


def covering_pixels(image: "Image.Image", size: tuple[int, int]) -> Tensor:
    """Return the pixels of an RGB picture, scaled to cover a size and cropped at the centre.

    Args:
        image: of Pillow, in RGB.
        size: (height, width).

    Returns:
        uint8 (3, height, width).
    """
    pixels = torch.frombuffer(bytearray(_crop(image, size).tobytes()), dtype=torch.uint8)
    return pixels.view(*size, 3).permute(2, 0, 1)


def _to_rgb(image: "Image.Image") -> "Image.Image":
    """Return 8-bit RGB; transparency is laid over white."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode.startswith("I"):  # 16-bit grey
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _crop(image: "Image.Image", size: tuple[int, int]) -> "Image.Image":
    from PIL import Image

    height, width = size
    # Whole numbers: the side that decides must come out exact.
    if height * image.width >= width * image.height:
        scaled = (_divide(image.width * height, image.height), height)
    else:
        scaled = (width, _divide(image.height * width, image.width))
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.LANCZOS)
    left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
    return image.crop((left, top, left + width, top + height))


def _divide(dividend: int, divisor: int) -> int:
    """Divide and round half up."""
    return (2 * dividend + divisor) // (2 * divisor)
