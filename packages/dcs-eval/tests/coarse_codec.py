"""A codec whose bytes and errors are known by hand."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_eval.eight_bit import to_bytes


@dataclass
class CoarseCodec:
    """Adds 1/setting to every pixel, in files of ``setting`` bytes and the picture itself.

    PSNR is ``20 log10(setting)`` dB where no pixel is clamped. Only the first ``setting`` bytes
    are handed on, so that sizes are what a test wants; the codec remembers the rest.
    """

    name: str = "Coarse"
    settings: tuple[float, ...] = (5, 17, 51, 85)
    calls: int = 0

    def compress(self, pixels: Tensor, setting: float) -> bytes:
        self.calls += 1
        self._kept = (pixels, setting)
        return bytes(int(setting))

    def decompress(self, data: bytes) -> Tensor:
        pixels, setting = self._kept
        assert len(data) == int(setting)
        return torch.clamp(pixels + 1 / setting, 0, 1)


class LosslessCodec(CoarseCodec):
    """Gives back what it got."""

    def decompress(self, data: bytes) -> Tensor:
        return to_bytes(self._kept[0]) / 255
