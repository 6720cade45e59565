"""SSIM, the structural similarity of two pictures (Wang et al. 2004).

With means, variances and the covariance under a Gaussian window around every place,

    SSIM = (2 m_x m_y + C1) (2 s_xy + C2) / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2)).
"""

from math import exp

import torch
from torch import Tensor
from torch.nn.functional import pad

SMALLEST_SIDE = 11  # the window's
_RADIUS, _SIGMA = 5, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_CENTRE = 0.5  # of the range: variances of values around zero lose fewer digits


def _window() -> list[float]:
    weights = [exp(-0.5 * (place / _SIGMA) ** 2) for place in range(-_RADIUS, _RADIUS + 1)]
    return [weight / sum(weights) for weight in weights]


_WINDOW = _window()


class StructuralSimilarity:
    """SSIM with the paper's constants, 1 for equal pictures.

    A Gaussian window of 11 pixels and sigma 1.5, C1 = 0.01^2, C2 = 0.03^2, edges continued by
    reflection; the mean over R, G and B and all places. Equal to torchmetrics' up to rounding.
    """

    def __call__(self, picture: Tensor, reference: Tensor) -> float:
        """Return the similarity of two pictures (1, 3, H, W) in [0, 1].

        Raises:
            ValueError: if they are smaller than the window.
        """
        return float(self.each(picture, reference))

    def each(self, pictures: Tensor, references: Tensor) -> Tensor:
        """Return the similarities (N,) of pictures (N, 3, H, W) in [0, 1].

        Raises:
            ValueError: if they are smaller than the window.
        """
        if min(pictures.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"SSIM needs pictures of at least {SMALLEST_SIDE} pixels a side, but this one is "
                f"{pictures.shape[-1]}x{pictures.shape[-2]}. Leave SSIM out."
            )
        if pictures.device.type != "cpu":
            return _similarities(pictures, references)
        # One by one what the filter reads stays in the processor's cache: several times faster.
        pairs = zip(pictures.split(1), references.split(1), strict=True)
        return torch.cat([_similarities(*pair) for pair in pairs])


def _similarities(pictures: Tensor, references: Tensor) -> Tensor:
    x, y = (some.float() - _CENTRE for some in (pictures, references))
    x_mean, y_mean, squares, products = _blur(torch.stack([x, y, x * x + y * y, x * y]))
    variances = (squares - x_mean.square() - y_mean.square()).clamp_(min=0)
    covariance = products - x_mean * y_mean
    x_mean, y_mean = x_mean + _CENTRE, y_mean + _CENTRE
    above = (2 * x_mean * y_mean + _C1) * (2 * covariance + _C2)
    below = (x_mean.square() + y_mean.square() + _C1) * (variances + _C2)
    return (above / below).mean((1, 2, 3))


def _blur(maps: Tensor) -> Tensor:
    """Return maps (k, N, 3, H, W) under the window, along rows and then along columns."""
    height, width = maps.shape[-2:]
    maps = pad(maps.flatten(0, 1), [_RADIUS] * 4, mode="reflect").unflatten(0, maps.shape[:2])
    for dim, extent in ((-1, width), (-2, height)):
        shifted = [maps.narrow(dim, place, extent) for place in range(len(_WINDOW))]
        maps = shifted[0] * _WINDOW[0]
        for part, weight in zip(shifted[1:], _WINDOW[1:], strict=True):
            maps.add_(part, alpha=weight)
    return maps


#: Compares a picture with its reference, both (1, 3, H, W) in [0, 1].
ssim = StructuralSimilarity()
