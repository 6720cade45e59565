"""The feature space that a protocol measures distances in, made of its weights."""

from pathlib import Path

import torch

from dcs_eval.features.feature_space import FeatureSpace
from dcs_eval.features.inception import INCEPTION_SPACE, InceptionFeatures
from dcs_eval.features.squeezenet import SqueezeNetFeatures
from dcs_eval.protocols.protocol import Protocol


def protocol_space(
    protocol: Protocol, weights: Path | None, device: torch.device
) -> FeatureSpace | None:
    """Return the feature space of a protocol of pictures; None where it has none.

    Args:
        protocol: the protocol.
        weights: file of the network's weights; from torch.hub's cache if None.
        device: where to compute.

    Raises:
        ValueError: if the weights are missing or not what they must be.
    """
    if protocol.space == INCEPTION_SPACE:
        return InceptionFeatures(weights, device)
    if protocol.space == SqueezeNetFeatures.name:
        return SqueezeNetFeatures(weights, device)
    return None
