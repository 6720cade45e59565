"""What a feature space is: a network with a name that states how pictures go into it."""

from typing import Protocol

from torch import Tensor


class FeatureSpace(Protocol):
    """Numbers that describe pictures. Distances in two spaces are never comparable.

    Attributes:
        name: said with every figure; stands for the network, its weights and the preprocessing.
        size: how many numbers there are.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def size(self) -> int: ...  # noqa: D102

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the features (N, size) of pictures (N, 3, H, W) in [0, 1]."""
