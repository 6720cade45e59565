"""What a picture codec is to those that measure it, whoever wrote it."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class PictureCodec(Protocol):
    """A way to turn a picture into bytes and back.

    pixels --compress at a setting--> bytes --decompress--> pixels of the same size

    A package offers its codecs by name through the entry points of
    :func:`dcs_common.entry_points.find_codec`.
    """

    @property
    def name(self) -> str:
        """What a plot calls it, such as ``JPEG 2000``."""
        ...

    @property
    def settings(self) -> tuple[float, ...]:
        """What ``compress`` is to be measured at, from small files to large ones.

        What a setting means is the codec's own: a quality, a quantiser step, bits per pixel.
        """
        ...

    def compress(self, pixels: Tensor, setting: float) -> bytes:
        """Return the whole file of one picture (1, 3, H, W) in [0, 1], RGB, on any device."""
        ...

    def decompress(self, data: bytes) -> Tensor:
        """Return the picture (1, 3, H, W) in [0, 1] of a file, on any device."""
        ...
