"""A feature space that needs no weights: the colours of 4 x 4 places of a picture."""

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from dcs_eval import FeatureSpace, SqueezeNetFeatures

_PLACES = 4


class PooledColours:
    """The mean colour of each of 4 x 4 places: 48 numbers.

    It sees layout and colour, but neither texture nor what is shown: distances in it tell a
    generator that has learned nothing from one that has, and no more.
    """

    name = f"colours-{_PLACES}x{_PLACES}"
    size = 3 * _PLACES**2

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the features (N, 48) of pictures (N, 3, H, W) in [0, 1]."""
        return adaptive_avg_pool2d(pictures.float(), _PLACES).flatten(1)


def feature_space(weights: str | None, device: str) -> FeatureSpace:
    """Return SqueezeNet's features where there are weights, and pooled colours otherwise."""
    return PooledColours() if weights is None else SqueezeNetFeatures(weights, device)
