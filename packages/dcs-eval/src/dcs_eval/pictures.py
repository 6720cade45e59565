"""The pictures to evaluate on: a folder or files, read as they are, or refused."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dcs_eval.eight_bit import to_pixels

Item = TypeVar("Item")

_EIGHT_BIT = {"RGB", "L", "P"}


def find_pictures(places: Sequence[Path], limit: int | None = None) -> dict[str, Path]:
    """Return picture files by the names that tables give them, in order.

    Args:
        places: files, and folders whose pictures are taken in the order of their names, hidden
            files and what Pillow has no reader for by its ending left out.
        limit: how many to take at most, spread evenly over all.

    Raises:
        ValueError: if there is no picture, or two have one name.
    """
    Image.init()  # fills the list of endings
    found: dict[str, Path] = {}
    for place in places:
        if place.is_dir():
            files = sorted(
                file
                for file in place.iterdir()
                if file.suffix.lower() in Image.EXTENSION and not file.name.startswith(".")
            )
        else:
            files = [place]
        if not files:
            raise ValueError(f"The folder must hold pictures, but {place} holds none.")
        for file in files:
            if file.stem in found:
                raise ValueError(
                    f"Each picture must have a name of its own, but {found[file.stem]} and {file} "
                    "have the same. Rename one."
                )
            found[file.stem] = file
    return {
        name: found[name] for name in spread(list(found), len(found) if limit is None else limit)
    }


def spread(names: Sequence[Item], count: int) -> list[Item]:
    """Return ``count`` of several, names or files, evenly spread, or all if there are fewer."""
    count = min(count, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def read_picture(path: Path) -> Tensor:
    """Return the pixels (1, 3, H, W) in [0, 1] of an 8-bit picture, upright.

    What compares fairly only after somebody's decision (transparency, 16 bits, several frames) is
    refused.

    Raises:
        ValueError: if the file is missing, damaged, or no plain 8-bit picture.
    """
    if not path.is_file():
        raise ValueError(f"A picture must exist, but {path} does not. Check the path.")
    return decode_picture(path, str(path))


def decode_picture(file: Path | IO[bytes], place: str) -> Tensor:
    """Return the pixels (1, 3, H, W) in [0, 1] of an 8-bit picture, upright.

    Args:
        file: a path, or a file that can be sought.
        place: where it is, for messages.

    Raises:
        ValueError: if it is damaged, or no plain 8-bit picture of one frame.
    """
    try:
        with Image.open(file) as image:
            frames = getattr(image, "n_frames", 1)
            image.load()
            mode, clear = image.mode, "transparency" in image.info
            # The others in a camera's MPO are previews, or a second eye's view.
            still = frames == 1 or image.format == "MPO"
            upright = ImageOps.exif_transpose(image)
            if still and mode in _EIGHT_BIT and not clear:
                return to_pixels(upright.convert("RGB"))
    except Exception as error:  # a damaged file can raise nearly anything in Pillow's plugins
        # Pillow names a file in memory by its address.
        unknown = isinstance(error, UnidentifiedImageError) and isinstance(file, BytesIO)
        reason = "it knows no such format" if unknown else error
        raise ValueError(
            f"The input must be a whole picture that Pillow can read, but {place} is not "
            f"({reason}). Convert it, or check that it was copied completely."
        ) from None
    if not still:
        raise ValueError(
            f"Pictures must hold one frame, but {place} holds {frames}. Take the frame that you "
            "mean out of it, or evaluate clips."
        )
    raise ValueError(
        f"Pictures must have 8 bits and no transparency, but {place} is "
        f"{mode}{' with transparency' if clear else ''}. Convert it to RGB."
    )
