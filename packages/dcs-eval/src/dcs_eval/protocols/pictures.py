"""Pictures as a protocol measures them, and what a tokenizer makes of them, read when needed."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dcs_common.protocols import ImageTokenizer
from dcs_eval.decoding import decoded
from dcs_eval.features.picture_collection import picture_digest
from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.protocols.centre_crop import adm_centre_crop
from dcs_eval.protocols.checks import check_sizes
from dcs_eval.protocols.clips import ProtocolClips
from dcs_eval.protocols.protocol import Protocol


class ProtocolPictures:
    """Pictures (1, 3, H, W) in [0, 1] of files, cropped as a protocol says, or refused.

    Attributes:
        names: of the files, below their folder or zip.
        digest: changes whenever the files or the crop do.
    """

    def __init__(self, protocol: Protocol, files: LabelledFiles) -> None:
        self.names = tuple(file.name for file in files.files)
        self.digest = f"{protocol.resize} {protocol.sizes} {picture_digest(files)}"
        self._protocol = protocol
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor:
        """Return a picture.

        Raises:
            ValueError: if it cannot be read, or has a size that the protocol refuses.
        """
        pixels = self._files[index]
        if self._protocol.resize == "adm-centre-crop":
            pixels = adm_centre_crop(pixels, self._protocol.sizes[0][0])
        size = (pixels.shape[-2], pixels.shape[-1])
        check_sizes(self._protocol, [(self.names[index], size)])
        return pixels

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for index, name in enumerate(self.names):
            yield name, self[index]


class DecodedPictures:
    """What a tokenizer makes of pictures or clips at one level count, each decoded when asked for.

    Attributes:
        digest: changes whenever the pictures, the tokenizer or the level count do.
    """

    def __init__(
        self,
        pictures: ProtocolPictures | ProtocolClips,
        tokenizer: ImageTokenizer,
        levels: int,
        *,
        name: str,
        device: torch.device,
    ) -> None:
        """Prepare to decode.

        Args:
            pictures: the originals.
            tokenizer: anything that encodes and decodes them.
            levels: how many are decoded.
            name: of the tokenizer; its fingerprint is added where it has one.
            device: where it computes.
        """
        fingerprint = getattr(tokenizer, "fingerprint", None)
        self.digest = f"{pictures.digest} {name} {fingerprint} {levels}"
        self._pictures = pictures
        self._tokenizer: Any = tokenizer
        self._levels = levels
        self._device = device
        # A tokenizer of pictures need not take a rate.
        self._fps = {} if isinstance(pictures, ProtocolPictures) else {"fps": pictures.fps}

    def __len__(self) -> int:
        return len(self._pictures)

    @torch.inference_mode()
    def __getitem__(self, index: int) -> Tensor:
        """Return a decoded picture (1, 3, H, W) or clip (1, 3, T, H, W) in [0, 1].

        Raises:
            ValueError: if the tokenizer refuses it, or decodes what is not finite.
        """
        pixels = self._pictures[index].to(self._device)
        size = (pixels.shape[-2], pixels.shape[-1])
        latents = self._tokenizer.encode(pixels, levels=self._levels, **self._fps)
        what = self._pictures.names[index]
        options = {"size": size, **self._fps}
        return decoded(self._tokenizer, latents, levels=self._levels, what=what, **options)
