"""A trunk for LPIPS with random weights: what a download would bring, but for its sense."""

import torch
from torch import Tensor

from dcs_common.torchvision_import import import_torchvision


def random_trunk(architecture: str = "squeezenet1_1", seed: int = 0) -> dict[str, Tensor]:
    """Return a state dict with torchvision's keys, ``classifier`` and all, every bias at work."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = import_torchvision().models.get_model(architecture, weights=None)
    generator = torch.Generator().manual_seed(seed)
    return {
        key: 0.1 * torch.randn(tensor.shape, generator=generator) if "bias" in key else tensor
        for key, tensor in network.state_dict().items()
    }
