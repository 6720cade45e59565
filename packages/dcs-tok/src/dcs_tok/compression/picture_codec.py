"""dcs-tok as evaluation sees a codec and a tokenizer: the entry points of the package."""

from dataclasses import dataclass

from torch import Tensor

from dcs_tok.compression.codec import codec_of, decompress
from dcs_tok.compression.compress import compress
from dcs_tok.tokenizer import DCSTok

QUALITIES = (
    *(20.0, 23.0, 26.0, 28.0, 29.0, 30.0, 31.0, 32.0, 33.0, 34.0, 35.0, 36.0, 38.0, 40.0, 42.0),
    *(44.0, 46.0, 48.0, 50.0, 52.0, 54.0, 56.0, 58.0, 60.0, 62.0, 64.0),
)
RATES = (0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class DCSTokCodec:
    """A :class:`dcs_common.PictureCodec` of the bundled model.

    Attributes:
        name: what a plot calls it.
        settings: qualities, or bits per pixel to search for.
        searches: whether settings are bits per pixel.
    """

    name: str
    settings: tuple[float, ...]
    searches: bool

    @property
    def version(self) -> str:
        """Changes when files do."""
        return codec_of(None).model.fingerprint

    def compress(self, pixels: Tensor, setting: float) -> bytes:
        """Return the file of a picture (1, 3, H, W)."""
        if self.searches:
            return compress(pixels, bpp=setting)
        return compress(pixels, quality=int(setting))

    def decompress(self, data: bytes) -> Tensor:
        """Return the picture (1, 3, H, W)."""
        return decompress(data)


def by_quality() -> DCSTokCodec:
    """Return the codec at fixed qualities."""
    return DCSTokCodec("DCS-Tok", QUALITIES, searches=False)


def by_bpp() -> DCSTokCodec:
    """Return the codec that gives every picture one size; patches and step are searched for."""
    return DCSTokCodec("DCS-Tok, one size each", RATES, searches=True)


def load_tokenizer(model: str | None) -> DCSTok:
    """Return a tokenizer by name, folder or hub id."""
    return DCSTok.from_pretrained(model)
