"""Building LPIPS: an ImageNet trunk and the heads that weigh its features (Zhang et al. 2018).

The heads lie in lpips' wheel. The trunk is torchvision's and comes from a file, from torch.hub's
cache, or over the network.
"""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dcs_common.torchvision_import import import_torchvision

TrunkName = Literal["vgg", "alex", "squeeze"]


@dataclass(frozen=True, slots=True)
class Trunk:
    """A network whose features LPIPS compares.

    Attributes:
        architecture: torchvision's name of it.
        weights: torchvision's name of the weights that the heads were fitted to.
        smallest_side: in pixels; its pooling layers leave nothing of a smaller picture.
    """

    architecture: str
    weights: str
    smallest_side: int


TRUNKS: dict[str, Trunk] = {
    "vgg": Trunk("vgg16", "VGG16_Weights.IMAGENET1K_V1", 16),
    "alex": Trunk("alexnet", "AlexNet_Weights.IMAGENET1K_V1", 31),
    "squeeze": Trunk("squeezenet1_1", "SqueezeNet1_1_Weights.IMAGENET1K_V1", 17),
}


def lpips_network(
    trunk: TrunkName,
    trunk_weights: str | PathLike[str] | None,
    heads: str | PathLike[str] | None,
) -> nn.Module:
    """Return lpips' network with its weights, frozen, in eval mode, float32 on the CPU.

    Raises:
        ValueError: if lpips is not installed, ``trunk`` is unknown, or weights are missing,
            damaged, or those of another network.
    """
    if trunk not in TRUNKS:
        raise ValueError(
            f"`trunk` must be one of {', '.join(TRUNKS)}, but is {trunk!r}. Choose one of them."
        )
    lpips = import_lpips()
    with warnings.catch_warnings(), torch.device("meta"):
        # lpips calls torchvision's models by arguments that have been renamed since.
        for message in ("The parameter 'pretrained' is", "Arguments other than a weight enum"):
            warnings.filterwarnings("ignore", message, UserWarning, r"torchvision\.models\._utils")
        network = lpips.LPIPS(net=trunk, pretrained=False, pnet_rand=True, verbose=False)
    network.scaling_layer = lpips.ScalingLayer()  # constants, which "meta" must not swallow
    about = TRUNKS[trunk]
    trunk_file = _hub_file(about) if trunk_weights is None else Path(trunk_weights)
    if heads is None:
        heads = Path(str(lpips.__file__)).parent / "weights" / "v0.1" / f"{trunk}.pth"
    weights = _trunk_tensors(network, trunk_file, about.architecture)
    weights |= _head_tensors(network, Path(heads), trunk)
    network.load_state_dict(weights, strict=False, assign=True)
    return network.requires_grad_(False).eval()


def import_lpips() -> ModuleType:
    """Return lpips.

    Raises:
        ValueError: if it, or torchvision, is not installed.
    """
    import_torchvision()
    try:
        return import_module("lpips")
    except ModuleNotFoundError as error:
        if error.name != "lpips":
            raise
        raise ValueError(
            "The perceptual loss needs lpips, but it is not installed. Install it with "
            "`pip install 'dcs-tok[train]'`."
        ) from None


def _hub_file(trunk: Trunk) -> Path:
    """Return the trunk's file in torch.hub's cache, downloading it if it is not there."""
    url = import_torchvision().models.get_weight(trunk.weights).url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if file.is_file():
        return file
    hash_prefix = file.stem.rsplit("-", 1)[1]  # torchvision names files by their SHA-256
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix, sys.stderr.isatty())
    except (OSError, HTTPException, RuntimeError) as error:
        raise ValueError(
            f"The perceptual loss needs torchvision's {trunk.architecture} trained on ImageNet, "
            f"but {file} does not exist, and downloading {url} failed "
            f"({type(error).__name__}: {error}). Download it on another machine, then put it "
            "there or pass its path as `trunk_weights`."
        ) from None
    return file


def _trunk_tensors(network: nn.Module, file: Path, architecture: str) -> dict[str, Tensor]:
    """Read a trunk's tensors under the network's keys.

    lpips cuts torchvision's ``features`` into slices and keeps the layers' numbers:
    ``net.slice2.4.weight`` is ``features.4.weight``, or ``4.weight`` in a file of features only.
    """
    tensors = _read_tensors(file)
    found = {key.removeprefix("features."): tensor for key, tensor in tensors.items()}
    wanted = {key: key.split(".", 2)[2] for key in network.state_dict() if key.startswith("net.")}
    return _pick(network, wanted, found, file, f"the features of torchvision's {architecture}")


def _head_tensors(network: Any, file: Path, trunk: str) -> dict[str, Tensor]:
    """Read the heads, ``lin0.model.1.weight`` and so on, one for each feature map."""
    wanted = {key: key for key in (f"lin{i}.model.1.weight" for i in range(network.L))}
    return _pick(network, wanted, _read_tensors(file), file, f"LPIPS' heads for {trunk!r}")


def _pick(
    network: nn.Module,
    wanted: Mapping[str, str],
    found: Mapping[str, Tensor],
    file: Path,
    what: str,
) -> dict[str, Tensor]:
    """Return ``{key: found[wanted[key]]}``, checked against the network's shapes."""
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    absent = [
        (source, tuple(shapes[key]))
        for key, source in wanted.items()
        if source not in found or found[source].shape != shapes[key]
    ]
    if absent:
        source, shape = absent[0]
        raise ValueError(
            f"The file must hold {what}, but {file} lacks {len(absent)} of {len(wanted)} tensors, "
            f"{source} of shape {shape} first. Give the file of that network."
        )
    return {key: found[source].float() for key, source in wanted.items()}


def _read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file or from what ``torch.save`` wrote."""
    if not file.is_file():
        raise ValueError(f"A file of weights must exist, but {file} does not. Check the path.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        return {str(key): tensor for key, tensor in tensors.items() if isinstance(tensor, Tensor)}
    except Exception as error:  # damage shows as nearly any exception
        raise ValueError(
            "A file of weights must be a whole .safetensors file or a state dict of `torch.save`, "
            f"but {file} is not ({type(error).__name__}). Download it again."
        ) from None
