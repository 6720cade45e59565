"""Square samples of photos, small and large, and how complex their content is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from torch import Tensor

from dcs_eval.comparison.short_side import at_short_side
from dcs_eval.pictures import spread
from dcs_tok.data.sources import SampleOpener, find_samples
from dcs_tok.patch_moments import detail
from launching import Options

BUNDLED = (
    *("astronaut", "coffee", "rocket", "retina", "hubble_deep_field", "immunohistochemistry"),
    *("stereo_motorcycle", "camera", "brick", "grass", "gravel", "moon"),
)
"""Photos of scikit-image with 400 px or more on the short side; the last five are grey."""
LEAST_SIDE, LARGEST_SIDE = 384, 512
DETAIL_SIDE = 256
"""Complexity is measured at one scale, so that it is the content's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The central square of a photo.

    Attributes:
        name: of the photo.
        pixels: (1, 3, S, S) in [0, 1], S at most ``LARGEST_SIDE``; larger photos are reduced.
    """

    name: str
    pixels: Tensor

    @property
    def side(self) -> int:
        """S."""
        return self.pixels.shape[-1]

    def at(self, side: int) -> Tensor:
        """Return it reduced to a side, antialiased and in 8-bit steps."""
        return at_short_side(self.pixels, side, self.name)

    @property
    def complexity(self) -> float:
        """Its mean squared step between neighbouring pixels, at 256 px."""
        return detail(self.at(DETAIL_SIDE))


def samples(
    options: Options, *, most: int | None = None, largest: int = LARGEST_SIDE
) -> list[Sample]:
    """Return the samples that an experiment measures.

    Args:
        options: as for :func:`each_sample`.
        most: at most so many, spread over all that there are.
        largest: S at most.

    Raises:
        ValueError: if fewer than four photos are large enough.
    """
    found = list(each_sample(options, most=most, least=LEAST_SIDE, largest=largest))
    check_enough(len(found), LEAST_SIDE)
    return found


def each_sample(
    options: Options, *, most: int | None, least: int, largest: int
) -> Iterator[Sample]:
    """Yield samples one after another, so that any number of photos fits into memory.

    Args:
        options: ``held_out`` names folders, zips and files; without it, scikit-image's photos.
        most: at most so many, spread over all that there are.
        least: photos with a shorter side are left out.
        largest: S at most.
    """
    photos: Iterator[tuple[str, Tensor]]
    if options.held_out:
        found, opener = find_samples(options.held_out, ("picture",)), SampleOpener()
        chosen = found if most is None else spread(found, most)
        photos = (
            (PurePosixPath(one.name).stem, opener.read_picture(one)[None].float() / 255)
            for one in chosen
        )
    else:
        photos = ((name, native_photo(name)) for name in BUNDLED)
    for name, pixels in photos:
        if min(pixels.shape[-2:]) >= least:
            yield _square(name, pixels, largest)


def check_enough(count: int, least: int) -> None:
    """Check that an interval over samples means something.

    Raises:
        ValueError: if there are fewer than four.
    """
    if count < 4:
        raise ValueError(
            f"At least 4 photos must have {least} px or more on the short side, but {count} have. "
            "Name folders of larger ones with `--held-out`."
        )


def native_photo(name: str) -> Tensor:
    """Return a photo of scikit-image as it is, (1, 3, H, W) in [0, 1]; grey ones thrice."""
    from skimage import data

    found = getattr(data, name)()
    array = found[0] if isinstance(found, tuple) else found  # a stereo pair
    pixels = torch.from_numpy(array.copy()).float() / 255
    if pixels.ndim == 2:
        return pixels.expand(1, 3, -1, -1).contiguous()
    return pixels[..., :3].permute(2, 0, 1)[None].contiguous()


def _square(name: str, pixels: Tensor, largest: int) -> Sample:
    height, width = pixels.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[..., top : top + side, left : left + side].contiguous()
    return Sample(name=name, pixels=at_short_side(square, min(side, largest), name))
