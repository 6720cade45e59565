"""Photos for runs without data of one's own: those that ship with scikit-image.

All are in the public domain or free to use; the names are scikit-image's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from dcs_common.atomic_file import whole_file
from launching import Context, Options

TRAIN = (
    *("cat", "rocket", "retina", "hubble_deep_field", "immunohistochemistry"),
    *("camera", "brick", "grass", "gravel", "coins"),  # grey
)
HELD_OUT = ("astronaut", "coffee")
SHORT_SIDE = 256


@dataclass(frozen=True)
class BundledPhotos:
    """Folders of photos with a short side of 256 px.

    Attributes:
        train: ten of them, half of them grey.
        held_out: two that training never sees.
    """

    train: Path
    held_out: Path


def bundled_photos(folder: Path) -> BundledPhotos:
    """Write the photos as PNG into a folder, unless they are there; return where they are."""
    found = BundledPhotos(folder / "train", folder / "held-out")
    for place, names in ((found.train, TRAIN), (found.held_out, HELD_OUT)):
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = place / f"{name}.png"
            if not path.exists():
                with whole_file(path) as temporary:
                    photo(name).save(temporary)
    return found


def photo(name: str, short_side: int | None = SHORT_SIDE) -> Image.Image:
    """Return one of scikit-image's photos in RGB; grey ones have three equal channels.

    Args:
        name: scikit-image's.
        short_side: scaled to, in pixels; None for the size it has.
    """
    from skimage import data

    image = Image.fromarray(getattr(data, name)()).convert("RGB")
    if short_side is None:
        return image
    scale = short_side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def prepare_photos(context: Context) -> dict[str, Any]:
    """Write the photos that stand in for data, before runs that would race for it; count paths."""
    train_on, measured_on = photo_paths(context.options, context.run / "photos")
    return {"train": len(train_on), "held out": len(measured_on)}


def photo_paths(options: Options, folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return what to train on and what to measure on.

    Args:
        options: its ``data`` and ``held_out``, where given, come first.
        folder: where photos are written otherwise.

    Raises:
        ValueError: if only one of them is given, so that the same photos might serve both.
    """
    if bool(options.data) != bool(options.held_out):
        raise ValueError(
            "`--data` and `--held-out` must be given together, but only one is. Name pictures to "
            "train on and others to measure on."
        )
    if options.data:
        return tuple(map(Path, options.data)), tuple(map(Path, options.held_out))
    found = bundled_photos(folder)
    return (found.train,), (found.held_out,)
