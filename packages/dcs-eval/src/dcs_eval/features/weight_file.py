"""Weights of a network from a file that ``torch.save`` wrote, checked before they are used."""

from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn


def read_weights(file: str | PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors of a state dict by their names; nothing else is unpickled.

    Raises:
        ValueError: if the file is missing, damaged or no state dict.
    """
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


def fill(
    network: nn.Module,
    places: dict[str, str],
    found: dict[str, Tensor],
    file: str | PathLike[str],
    what: str,
) -> None:
    """Copy ``found[places[key]]`` to every key of a network.

    Args:
        network: its other keys stay as they are.
        places: names of tensors in the file by the network's keys.
        found: the file's tensors.
        file, what: for the message: where they are from, and what the file must hold.

    Raises:
        ValueError: if a tensor is absent or has another shape.
    """
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
