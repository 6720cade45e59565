"""The Inception network with features that keep their places, which sFID compares (Nash 2021).

ADM's evaluation (guided-diffusion) takes the first 7 channels of the tensor ``mixed_6/conv:0`` of
the graph of 2015-12-05, 17x17 places, in the order row, column, channel: 2023 numbers. In
torch-fidelity's network that is what ``Mixed_6d.branch1x1`` gives after its ReLU:

- torch-fidelity's converter of weights (``util_convert_inception_weights.py``) writes the graph's
  ``mixed_6/conv`` into ``Mixed_6d.branch1x1``: the graph counts its blocks from ``mixed`` on, which
  is 5b, and ``mixed_6`` is the seventh of them.
- Of a convolution the graph's nodes are ``Conv2D``, ``batchnorm``, ``CheckNumerics``,
  ``control_dependency`` and, under the convolution's own name, the last: its ReLU.

Resizing and scaling are those of FID, as ADM feeds the same graph.
"""

from os import PathLike

import torch
from torch import Tensor, nn

from dcs_eval.features.inception import INCEPTION_SHA256, InceptionFeatures

_CHANNELS, _SIDE = 7, 17  # of mixed_6/conv, at 299x299


class SpatialInceptionFeatures(InceptionFeatures):
    """The space of :class:`InceptionFeatures`, with 2023 spatial features from the same pass.

    Args:
        weights, device, checksum, download: as there.

    Raises:
        ValueError: as there.
    """

    spatial_size = _CHANNELS * _SIDE * _SIDE

    def __init__(
        self,
        weights: str | PathLike[str] | None = None,
        device: str | torch.device = "cpu",
        *,
        checksum: str | None = INCEPTION_SHA256,
        download: bool = False,
    ) -> None:
        super().__init__(weights, device, checksum=checksum, download=download)
        self._spatial: Tensor | None = None
        block: nn.Module = self._network.get_submodule("Mixed_6d.branch1x1")
        block.register_forward_hook(self._keep)

    @torch.no_grad()
    def features_logits_and_spatial(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features (N, 2048), unbiased logits (N, 1008) and spatial features (N, 2023)."""
        features, logits = self.features_and_logits(pictures)
        spatial, self._spatial = self._spatial, None
        assert spatial is not None, "the network passes through Mixed_6d"
        return features, logits, spatial

    def _keep(self, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # (N, 192, 17, 17) to rows, columns and then channels, as TensorFlow lays them out.
        self._spatial = output[:, :_CHANNELS].permute(0, 2, 3, 1).flatten(1).float()
