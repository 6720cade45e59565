"""LPIPS, the distance of two pictures in a network's features (Zhang et al. 2018).

lpips' wheel brings the heads that weigh the features. The trunk is torchvision's and comes from a
file or from torch.hub's cache, over the network if it must.
"""

import warnings
from http.client import HTTPException
from os import PathLike
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

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
            network = _network(lpips, download=trunk is None)
        if trunk is not None:
            # lpips cuts torchvision's layers into slices and keeps their numbers:
            # ``net.slice2.4.weight`` is ``features.4.weight``, or ``4.weight`` of features alone.
            tensors = _read(trunk)
            found = {key.removeprefix("features."): tensor for key, tensor in tensors.items()}
            wanted = [key for key in network.state_dict() if key.startswith("net.")]
            places = {key: key.split(".", 2)[2] for key in wanted}
            _fill(network, places, found, trunk, "the features of torchvision's squeezenet1_1")
        if heads is None:
            heads = Path(str(lpips.__file__)).parent / "weights" / "v0.1" / "squeeze.pth"
        places = {key: key for key in (f"lin{i}.model.1.weight" for i in range(7))}
        _fill(network, places, _read(heads), heads, "LPIPS' heads for SqueezeNet")
        self._network = network.requires_grad_(False).eval().to(device)
        self._device = device

    @torch.inference_mode()
    def __call__(self, picture: Tensor, reference: Tensor) -> float:
        """Return the distance of two pictures (1, 3, H, W) in [0, 1].

        Raises:
            ValueError: if they are too small for the trunk.
        """
        if min(picture.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"LPIPS needs pictures of at least {SMALLEST_SIDE} pixels a side, but this one is "
                f"{picture.shape[-1]}x{picture.shape[-2]}. Leave LPIPS out."
            )
        pair = (picture.float().to(self._device), reference.float().to(self._device))
        return float(self._network(*pair, normalize=True))


def _network(lpips: ModuleType, download: bool) -> nn.Module:
    try:
        return lpips.LPIPS(net="squeeze", pretrained=False, pnet_rand=not download, verbose=False)
    except (OSError, HTTPException) as error:
        raise ValueError(
            "LPIPS needs torchvision's squeezenet1_1 trained on ImageNet, but it is not in "
            f"torch.hub's cache, and downloading it failed ({error}). Download it on another "
            "machine and give its path as the trunk."
        ) from None


def _read(file: str | PathLike[str]) -> dict[str, Tensor]:
    if not Path(file).is_file():
        raise ValueError(f"A file of weights must exist, but {file} does not. Check the path.")
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        return {str(key): tensor for key, tensor in tensors.items() if isinstance(tensor, Tensor)}
    except Exception as error:  # damage shows as nearly any exception
        raise ValueError(
            "A file of weights must be a whole state dict of `torch.save`, "
            f"but {file} is not ({type(error).__name__}). Download it again."
        ) from None


def _fill(
    network: nn.Module,
    places: dict[str, str],
    found: dict[str, Tensor],
    file: str | PathLike[str],
    what: str,
) -> None:
    """Copy ``found[places[key]]`` to every key."""
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    absent = [
        source
        for key, source in places.items()
        if source not in found or found[source].shape != shapes[key]
    ]
    if absent:
        raise ValueError(
            f"The file must hold {what}, but {file} lacks {len(absent)} of {len(places)} tensors, "
            f"{absent[0]} first. Give the file of that network."
        )
    network.load_state_dict({key: found[source].float() for key, source in places.items()}, False)
