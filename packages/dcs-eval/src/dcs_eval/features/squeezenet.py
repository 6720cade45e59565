"""torchvision's SqueezeNet 1.1: where its weights come from, and a feature space made of it."""

from http.client import HTTPException
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dcs_common.torchvision_import import import_torchvision
from dcs_eval.features.weight_file import fill, read_weights

_EXTRA = "dcs-eval[metrics]"
_SIDE = 224  # of the pictures that the network was trained on
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's pictures, as torchvision's weights expect them
_DEVIATION = (0.229, 0.224, 0.225)

TRUNK = "the features of torchvision's squeezenet1_1"


class SqueezeNetFeatures:
    """The feature space ``squeezenet1_1-pool``: 512 numbers for each picture.

    Pictures in [0, 1] are resized to 224x224 (bilinear with antialiasing; another aspect is
    squeezed), normalised by ImageNet's mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224,
    0.225) of R, G and B, and go through ``features`` of torchvision's ``squeezenet1_1`` trained on
    ImageNet (Iandola et al. 2016); its output (512, 13, 13) is averaged over space.

    Args:
        weights: torchvision's ``squeezenet1_1``, or its features alone, as ``torch.save`` wrote
            them; from torch.hub's cache if None.
        device: where to compute.

    Raises:
        ValueError: if torchvision is not installed, or the weights are not what they must be.
    """

    name = "squeezenet1_1-pool"
    size = 512

    def __init__(
        self, weights: str | PathLike[str] | None = None, device: str | torch.device = "cpu"
    ) -> None:
        file = find_squeezenet(
            weights, needed_by=f"The feature space {self.name}", given_as="weights"
        )
        with torch.random.fork_rng(devices=[]):
            network = import_torchvision(_EXTRA).models.squeezenet1_1(weights=None).features
        fill(network, {key: key for key in network.state_dict()}, read_trunk(file), file, TRUNK)
        self._network = network.requires_grad_(False).eval().to(device)
        self._device = torch.device(device)
        self._mean = torch.tensor(_MEAN, device=device).view(3, 1, 1)
        self._deviation = torch.tensor(_DEVIATION, device=device).view(3, 1, 1)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the features (N, 512) of pictures (N, 3, H, W) in [0, 1]."""
        resized = interpolate(
            pictures.float().to(self._device), (_SIDE, _SIDE), mode="bilinear", antialias=True
        )
        return self._network((resized - self._mean) / self._deviation).mean((2, 3))


def read_trunk(file: str | PathLike[str]) -> dict[str, Tensor]:
    """Return SqueezeNet's tensors under the names that they have in ``features``.

    Raises:
        ValueError: if the file is missing, damaged or no state dict.
    """
    return {key.removeprefix("features."): value for key, value in read_weights(file).items()}


def find_squeezenet(
    file: str | PathLike[str] | None, *, needed_by: str, given_as: str
) -> str | PathLike[str]:
    """Return the file of the weights: the one given, or the one in torch.hub's cache.

    What the cache lacks is downloaded, and its hash checked.

    Args:
        file: None for torch.hub's.
        needed_by, given_as: for the message: who asks, and the argument that takes a file.

    Raises:
        ValueError: if torchvision is not installed, or the download fails.
    """
    if file is not None:
        return file
    models = import_torchvision(_EXTRA).models
    address = str(models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]
    if not cached.is_file():
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            # The name ends in the first digits of the hash.
            torch.hub.download_url_to_file(address, str(cached), cached.stem.rpartition("-")[2])
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError for another hash
            raise ValueError(
                f"{needed_by} needs torchvision's squeezenet1_1 trained on ImageNet, but it is not "
                f"in torch.hub's cache, and downloading it failed ({error}). Download it on "
                f"another machine and give its path as the {given_as}."
            ) from None
    return cached
