"""Pictures to read and write in tests."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from dcs_common.resample import resize
from dcs_tok.demo import PHOTO
from dcs_tok.pictures import read_picture, write_picture


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw 8-bit RGB, every value equally likely: (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_pixels(rgb: np.ndarray) -> Tensor:
    """8-bit (H, W, 3) to (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    """Save a Pillow image; return the path."""
    image.save(path, **options)
    return path


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def small_photo(path: Path, height: int, width: int) -> Path:
    """Write the bundled photo at another size; return the path."""
    pixels = resize(read_picture(PHOTO).pixels, (height, width)).clamp(0, 1)
    write_picture(path, pixels[0])
    return path


def icc_profile(edit: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return the sRGB profile after an edit of its bytes."""
    return edit(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def with_red_and_blue_swapped(profile: bytes) -> bytes:
    """Give red the primary of blue, and blue that of red."""
    return profile.replace(b"rXYZ", b"swap").replace(b"bXYZ", b"rXYZ").replace(b"swap", b"bXYZ")
