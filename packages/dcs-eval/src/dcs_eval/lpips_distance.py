"""LPIPS, the distance of two pictures in a network's features (Zhang et al. 2018).

lpips' wheel brings the heads that weigh the features. The trunk is torchvision's and comes from a
file or from torch.hub's cache, over the network if it must.
"""

import warnings
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from dcs_eval.features.squeezenet import TRUNK, find_squeezenet, read_trunk
from dcs_eval.features.weight_file import fill, read_weights
from dcs_eval.metrics import import_metrics

SMALLEST_SIDE = 17  # SqueezeNet's pooling layers leave nothing of a smaller picture


class LPIPS:
    """LPIPS with the SqueezeNet trunk, on [0, 1] pictures; 0 for equal ones, less is better.

    Args:
        trunk: torchvision's ``squeezenet1_1``, or its features alone, as ``torch.save`` wrote
            them; from torch.hub's cache if None.
        heads: LPIPS' linear heads of version 0.1 for it; those in lpips' wheel if None.
        device: where to compare.

    Raises:
        ValueError: if the extra is not installed, or a file is not what it must be.
    """

    def __init__(
        self,
        trunk: str | PathLike[str] | None = None,
        heads: str | PathLike[str] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        lpips = import_metrics("lpips")
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            # lpips calls torchvision's models by arguments that have been renamed since.
            warnings.filterwarnings("ignore", module=r"torchvision\.models\._utils")
            network = lpips.LPIPS(net="squeeze", pretrained=False, pnet_rand=True, verbose=False)
        # lpips cuts torchvision's layers into slices and keeps their numbers:
        # ``net.slice2.4.weight`` is ``features.4.weight``, or ``4.weight`` of features alone.
        wanted = [key for key in network.state_dict() if key.startswith("net.")]
        places = {key: key.split(".", 2)[2] for key in wanted}
        trunk = find_squeezenet(trunk, needed_by="LPIPS", given_as="trunk")
        fill(network, places, read_trunk(trunk), trunk, TRUNK)
        if heads is None:
            heads = Path(str(lpips.__file__)).parent / "weights" / "v0.1" / "squeeze.pth"
        places = {key: key for key in (f"lin{i}.model.1.weight" for i in range(7))}
        fill(network, places, read_weights(heads), heads, "LPIPS' heads for SqueezeNet")
        self._network = network.requires_grad_(False).eval().to(device)
        self._device = device

    def __call__(self, picture: Tensor, reference: Tensor) -> float:
        """Return the distance of two pictures (1, 3, H, W) in [0, 1].

        Raises:
            ValueError: if they are too small for the trunk.
        """
        return float(self.each(picture, reference))

    @torch.inference_mode()
    def each(self, pictures: Tensor, references: Tensor) -> Tensor:
        """Return the distances (N,) of pictures (N, 3, H, W) in [0, 1].

        Raises:
            ValueError: if they are too small for the trunk.
        """
        if min(pictures.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"LPIPS needs pictures of at least {SMALLEST_SIDE} pixels a side, but this one is "
                f"{pictures.shape[-1]}x{pictures.shape[-2]}. Leave LPIPS out."
            )
        network, count = self._network, len(pictures)
        both = torch.cat([pictures, references]).float().to(self._device)
        # The trunk's pooling is twice as fast with channels innermost.
        scaled = network.scaling_layer(2 * both - 1).contiguous(memory_format=torch.channels_last)
        total = torch.zeros(count, device=self._device)
        for features, head in zip(network.net(scaled), network.lins, strict=True):
            lengths = features.square().sum(1, keepdim=True).sqrt_()
            features = features / lengths.add_(1e-10)
            difference = (features[:count] - features[count:]).square_()
            total += conv2d(difference, head.model[-1].weight).mean((1, 2, 3))
        return total
