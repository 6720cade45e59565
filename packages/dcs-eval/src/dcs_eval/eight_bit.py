"""Between pixels in [0, 1] and the 8-bit pictures that files and screens hold."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_bytes(pixels: Tensor) -> Tensor:
    """Return pixels in [0, 1] as uint8, rounded to the nearest; what lies outside is clamped."""
    return pixels.detach().float().mul(255).round().clamp(0, 255).to(torch.uint8)


def to_image(pixels: Tensor) -> Image.Image:
    """Return the 8-bit image of pixels (1, 3, H, W) in [0, 1]."""
    return Image.fromarray(to_bytes(pixels[0]).permute(1, 2, 0).cpu().numpy())


def to_pixels(image: Image.Image) -> Tensor:
    """Return the pixels (1, 3, H, W) in [0, 1] of an RGB image."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).float().div(255)
