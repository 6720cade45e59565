"""Clips as a protocol measures them: the frames of its rule, at its size."""

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import interpolate

from dcs_eval.clip_files import ClipFiles
from dcs_eval.eight_bit import to_bytes
from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.protocols.checks import check_sizes
from dcs_eval.protocols.protocol import Protocol


class ProtocolClips:
    """Clips (1, 3, T, H, W) in [0, 1] of files, at a protocol's size, or refused.

    Attributes:
        names: of the files, below their folder or zip.
        digest: changes whenever the files, the frames or the size do.
        fps: frames per second of all clips.
    """

    def __init__(self, protocol: Protocol, files: LabelledFiles, *, real: bool = True) -> None:
        """Prepare to read.

        Args:
            protocol: of clips.
            files: videos and animated WebP.
            real: resized as the protocol says; generated clips never are.
        """
        assert protocol.clip is not None, "clips are taken by a rule"
        self.names = tuple(file.name for file in files.files)
        self.fps = protocol.clip.fps
        self._clips = ClipFiles(files, protocol.clip)
        self._resize = real and protocol.resize == "centre-square"
        self._protocol = protocol
        resize = protocol.resize if self._resize else "none"
        self.digest = f"{resize} {protocol.sizes} {self._clips.digest}"

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Tensor:
        """Return a clip.

        Raises:
            ValueError: if it cannot be read, is too short, or has a size that the protocol
                refuses.
        """
        pixels = self._clips[index]
        if self._resize:
            pixels = centre_square(pixels, self._protocol.sizes[0][0])
        size = (pixels.shape[-2], pixels.shape[-1])
        check_sizes(self._protocol, [(self._clips.files.files[index].place, size)])
        return pixels

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for index, name in enumerate(self.names):
            yield name, self[index]


def centre_square(clip: Tensor, side: int) -> Tensor:
    """Return the square in the centre of a clip (1, 3, T, H, W), at ``side`` pixels and 8 bits.

    It is cut out first, one pixel less above or on the left where the rest is odd, and every frame
    is then resized, bilinear between pixel centres, antialiased where that reduces it.

    Args:
        clip: in [0, 1].
        side: in pixels. Smaller clips are enlarged.
    """
    height, width = clip.shape[-2:]
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    frames = clip[0, ..., top : top + square, left : left + square].transpose(0, 1)
    resized = interpolate(frames, (side, side), mode="bilinear", antialias=True)
    return to_bytes(resized).float().div(255).transpose(0, 1)[None]
