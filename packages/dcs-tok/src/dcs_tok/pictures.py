"""Reading and writing pictures through Pillow."""

import io
import warnings
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from dcs_common.atomic_file import check_folder_of, write_atomically

WRITABLE: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".bmp": ("BMP", {}),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """An RGB picture and what was done to make it one.

    Attributes:
        pixels: (1, 3, H, W) float32 in [0, 1].
        notes: conversions that lose or interpret something, for the user.
    """

    pixels: Tensor
    notes: tuple[str, ...]


def read_picture(path: str | PathLike[str] | IO[bytes], *, name: str | None = None) -> Picture:
    """Read a picture upright and in sRGB; transparency is laid over white.

    Args:
        path: of the file, or the file itself.
        name: what errors call it; default the path.

    Raises:
        ValueError: if the file is missing, no picture, cut short or absurdly large.
    """
    name = str(path) if name is None else name
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            with Image.open(path) as image:
                stored = _stored(image)
                image.load()
                picture = _to_rgb(ImageOps.exif_transpose(image))
        picture = replace(picture, notes=(*stored, *picture.notes))
        said = dict.fromkeys(str(warning.message).strip() for warning in caught)
        return replace(picture, notes=(*picture.notes, *said))
    except FileNotFoundError:
        raise ValueError(f"A picture must exist, but {name} does not. Check the path.") from None
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"A picture must have a sane number of pixels, but {name} has not ({error})."
        ) from None
    except Exception as error:  # a damaged file can raise nearly anything in Pillow's plugins
        raise ValueError(
            f"The input must be a whole picture that Pillow can read, but {name} is not "
            f"({error}). Convert it, or check that it was copied completely."
        ) from None


def read_bytes(file: str | PathLike[str] | IO[bytes]) -> Tensor:
    """Read a picture as :func:`read_picture` does, but as uint8 (3, H, W) and without notes.

    Raises:
        Exception: nearly anything, if the file is damaged: Pillow's plugins raise what they like.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            if _is_deep(upright):
                return _to_rgb(upright).pixels[0].mul(255).round_().to(torch.uint8)
            return torch.from_numpy(np.array(_to_srgb(upright)[0])).permute(2, 0, 1)


def _stored(image: Image.Image) -> list[str]:
    """Say of a picture that is not loaded yet what Pillow will reduce without a word."""
    notes = []
    if image.mode in ("RGB", "RGBA", "LA") and any(
        ";16" in str(tile[3]) for tile in getattr(image, "tile", ())
    ):
        notes.append("16-bit colour was reduced to 8 bits")
    if image.mode == "CMYK":
        notes.append("CMYK was converted to RGB")
    if getattr(image, "n_frames", 1) > 1:
        notes.append("of several frames the first was taken")
    return notes


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or image.mode in ("I", "F")


def _to_rgb(image: Image.Image) -> Picture:
    if _is_deep(image):
        if image.mode == "F":
            raise ValueError("floating-point pixels have no agreed range")
        notes = ["16-bit grey was read at full precision"]
        if image.info.get("icc_profile"):
            notes.append("its colour profile could not be applied")
        grey = torch.from_numpy(np.asarray(image).astype(np.float32)) / 65535
        return Picture(grey.clamp(0, 1).expand(1, 3, -1, -1).contiguous(), tuple(notes))
    image, notes = _to_srgb(image)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0)
    return Picture(pixels.float().div_(255).contiguous(), tuple(notes))


def _to_srgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return an image of 8-bit channels as RGB, and notes."""
    notes = []
    profile = image.info.get("icc_profile")
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA"):
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            notes.append("transparency was laid over white")
        backdrop = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(backdrop, image).convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError):
            notes.append("its colour profile could not be applied")
    return image.convert("RGB"), notes


def to_image(pixels: Tensor) -> Image.Image:
    """Return an 8-bit Pillow image of pixels (3, H, W) in [0, 1]."""
    rounded = pixels.detach().float().mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return Image.fromarray(rounded.permute(1, 2, 0).cpu().numpy())


def check_picture_path(path: str | PathLike[str]) -> Path:
    """Return the path of a picture to be written.

    Raises:
        ValueError: if its ending names no known format or its folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise ValueError(
            f"A picture's name must end in one of {', '.join(WRITABLE)}, but is {path.name!r}."
        )
    return check_folder_of(path)


def write_picture(path: str | PathLike[str], pixels: Tensor) -> None:
    """Write pixels (3, H, W) in [0, 1] as an 8-bit picture; the file appears when it is whole.

    Raises:
        ValueError: as :func:`check_picture_path`.
    """
    path = check_picture_path(path)
    kind, options = WRITABLE[path.suffix.lower()]
    buffer = io.BytesIO()
    to_image(pixels).save(buffer, kind, **options)
    write_atomically(path, buffer.getvalue())
