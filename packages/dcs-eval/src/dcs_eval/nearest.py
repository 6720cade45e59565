"""The training picture nearest to each sample: was it learned, or learned by heart?

Nearness says little by itself, since pictures of one class are alike. The yardstick is pictures
held out of training, which nothing can have memorised: if samples lie no nearer to the training
pictures than these do, nothing was.

By features, nearness is the angle: the cosine of two pictures' standardised features. A bland
sample has features close to the mean of all and so lies, by length, near every picture; its angle
does not betray it. By pixels it is the root mean square of differences at 32x32, which finds what
was copied whole, and to which bland samples do look near.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from dcs_eval.standardisation import Standardisation

SIDE = 32  # of pictures that are compared by pixels
NEAR_SHARE = 0.05  # of held-out pictures are called near
_ROWS = 256  # of a block of the table of distances


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """The nearest training picture of each picture.

    Attributes:
        indices: its place among the training pictures.
        distances: how far it is.
    """

    indices: tuple[int, ...]
    distances: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median distance."""
        return quantile(self.distances, 0.5)

    def near(self, held_out: "Nearest") -> float:
        """Return the share that is nearer to the training pictures than held-out pictures are.

        Nearer than all but the nearest twentieth of them: a twentieth is what no memory gives.
        """
        limit = quantile(held_out.distances, NEAR_SHARE)
        return sum(distance < limit for distance in self.distances) / len(self.distances)


@dataclass(frozen=True, kw_only=True, slots=True)
class NearestTraining:
    """The nearest training pictures by both measures.

    Attributes:
        features: distances are 1 - cosine of standardised features.
        pixels: distances are root mean squares at 32x32.
    """

    features: Nearest
    pixels: Nearest


def nearest_by_features(features: Tensor, training: Tensor, scaling: Standardisation) -> Nearest:
    """Return the nearest rows of ``training`` (M, D) of each row of ``features`` (N, D).

    Args:
        features: of samples or held-out pictures.
        training: of the training pictures.
        scaling: of these.
    """
    indices, squares = _nearest(normalize(scaling(features)), normalize(scaling(training)))
    return Nearest(indices=indices, distances=tuple((squares / 2).tolist()))


def nearest_by_pixels(small: Tensor, training: Tensor) -> Nearest:
    """Return the nearest training picture of each picture.

    Args:
        small, training: (N, 3, 32, 32) and (M, 3, 32, 32) in [0, 1], from :func:`shrink`.
    """
    indices, squares = _nearest(small.flatten(1), training.flatten(1))
    return Nearest(indices=indices, distances=tuple((squares / small[0].numel()).sqrt().tolist()))


def shrink(pictures: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) at 32x32, antialiased, on the CPU."""
    return interpolate(pictures.float(), (SIDE, SIDE), mode="bilinear", antialias=True).cpu()


def _nearest(rows: Tensor, training: Tensor) -> tuple[tuple[int, ...], Tensor]:
    """Return the index and the squared distance (N) of the nearest training row of each row."""
    exact = training.double()
    norms = exact.square().sum(1)
    found: list[Tensor] = []
    for block in rows.split(_ROWS):
        # |b|^2 - 2 ab orders as the distance does.
        found.append((norms - 2 * (block.double() @ exact.T)).argmin(1))
    indices = torch.cat(found)
    # Once more by differences, which keep the digits of small distances.
    squares = torch.cat(
        [
            (block.double() - exact[chosen]).square().sum(1)
            for block, chosen in zip(rows.split(_ROWS), indices.split(_ROWS), strict=True)
        ]
    )
    return tuple(indices.tolist()), squares


def quantile(values: tuple[float, ...], share: float) -> float:
    """Return the value below which a share of all lie, linear between neighbours."""
    return float(torch.tensor(values, dtype=torch.float64).quantile(share))
