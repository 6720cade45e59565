"""The codecs that people use now, through Pillow, each at the settings that make it small.

Their qualities are ladders from the smallest file to about 1 bit per pixel on photographs.
"""

import io
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, features
from torch import Tensor

from dcs_eval.eight_bit import to_image, to_pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class PillowCodec:
    """A format of Pillow's as a :class:`dcs_common.codec.PictureCodec`.

    Attributes:
        name: in plots.
        file_format: Pillow's name of it.
        feature: what Pillow calls the library behind it.
        settings: qualities, or bits per pixel, from small files to large.
        options: for saving, the same at every setting.
        setting_is_rate: the setting is bits per pixel, not a quality.
    """

    name: str
    file_format: str
    feature: str
    settings: tuple[float, ...]
    options: dict[str, Any] = field(default_factory=dict)
    setting_is_rate: bool = False

    def __post_init__(self) -> None:
        if not features.check(self.feature):
            raise ValueError(
                f"{self.name} needs a Pillow with {self.feature}, but this one is without. "
                "Install Pillow from its wheel, or leave this codec out."
            )

    @property
    def version(self) -> str:
        """What decides the bytes at a setting, for the record: the library and its options."""
        options = "".join(f", {key}={value}" for key, value in self.options.items())
        return f"{self.feature} {features.version(self.feature)}{options}"

    def compress(self, pixels: Tensor, setting: float) -> bytes:
        """Return the file of one picture (1, 3, H, W) in [0, 1], rounded to 8 bits."""
        image = to_image(pixels)
        if self.setting_is_rate:  # the library wants the factor by which 24 bits shrink
            rate: dict[str, Any] = {"quality_layers": [24 / setting]}
        else:
            rate = {"quality": round(setting)}
        buffer = io.BytesIO()
        image.save(buffer, self.file_format, **rate, **self.options)
        return buffer.getvalue()

    def decompress(self, data: bytes) -> Tensor:
        """Return the picture (1, 3, H, W) in [0, 1] of a file."""
        with Image.open(io.BytesIO(data), formats=[self.file_format]) as image:
            return to_pixels(image.convert("RGB"))


def jpeg() -> PillowCodec:
    """JPEG with Huffman tables made for the picture, progressive, colour at half resolution."""
    return PillowCodec(
        name="JPEG",
        file_format="JPEG",
        feature="jpg",
        settings=(1, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60),
        options={"optimize": True, "progressive": True, "subsampling": "4:2:0"},
    )


def webp() -> PillowCodec:
    """WebP at its slowest method."""
    return PillowCodec(
        name="WebP",
        file_format="WEBP",
        feature="webp",
        settings=(0, 1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60),
        options={"method": 6},
    )


def jpeg2000() -> PillowCodec:
    """JPEG 2000 at its best: the lossy wavelet, and colours decorrelated before it.

    Pillow leaves the colour transform out unless told. On the Kodak photographs that costs 1.6 dB
    at 0.1 and 3.2 dB at 0.5 bits per pixel.
    """
    return _jpeg2000("JPEG 2000", colour_transform=1)


def jpeg2000_rgb() -> PillowCodec:
    """JPEG 2000 as Pillow writes it by default, R, G and B each on its own."""
    return _jpeg2000("JPEG 2000 (RGB)", colour_transform=0)


def _jpeg2000(name: str, colour_transform: int) -> PillowCodec:
    return PillowCodec(
        name=name,
        file_format="JPEG2000",
        feature="jpg_2000",
        settings=(0.05, 0.07, 0.085, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0),
        options={"quality_mode": "rates", "irreversible": True, "mct": colour_transform},
        setting_is_rate=True,
    )


def avif() -> PillowCodec:
    """AVIF at speed 4, near the best it can do, and colour at half resolution."""
    return PillowCodec(
        name="AVIF",
        file_format="AVIF",
        feature="avif",
        settings=(1, 5, 8, 10, 13, 16, 20, 25, 30, 35, 40, 50, 60),
        options={"speed": 4, "subsampling": "4:2:0"},
    )
