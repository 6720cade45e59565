"""The feature space that a protocol measures distances in, made of its weights."""

from pathlib import Path

import torch

from dcs_eval.features.feature_space import FeatureSpace
from dcs_eval.features.i3d import I3D_ADDRESS, I3D_SPACE, I3DFeatures
from dcs_eval.features.inception import INCEPTION_SPACE, InceptionFeatures
from dcs_eval.features.spatial_inception import SpatialInceptionFeatures
from dcs_eval.features.squeezenet import SqueezeNetFeatures
from dcs_eval.protocols.protocol import Protocol


def check_weights(protocol: Protocol, weights: Path | None) -> None:
    """Check that weights are given which are in no cache, and none of no network.

    Raises:
        ValueError: if they are missing, or there is no network for them.
    """
    if protocol.space is None and weights is not None:
        raise ValueError(
            f"{protocol.name} takes features of no network, but there is `--weights` {weights}. "
            "Leave it out."
        )
    if protocol.space == I3D_SPACE and weights is None:
        raise ValueError(
            f"{protocol.name} needs the weights of I3D, but there is no `--weights`. Download "
            f"{I3D_ADDRESS} and give its path."
        )


def protocol_space(
    protocol: Protocol, weights: Path | None, device: torch.device
) -> FeatureSpace | None:
    """Return the feature space of a protocol; None where it has none.

    Args:
        protocol: the protocol.
        weights: file of the network's weights; from torch.hub's cache if None, but those of I3D.
        device: where to compute.

    Raises:
        ValueError: if the weights are missing or not what they must be.
    """
    if protocol.space == INCEPTION_SPACE and protocol.reference == "adm-statistics":
        return SpatialInceptionFeatures(weights, device)
    if protocol.space == INCEPTION_SPACE:
        return InceptionFeatures(weights, device)
    if protocol.space == I3D_SPACE:
        check_weights(protocol, weights)
        assert weights is not None, "just checked"
        return I3DFeatures(weights, device)
    if protocol.space == SqueezeNetFeatures.name:
        return SqueezeNetFeatures(weights, device)
    return None
