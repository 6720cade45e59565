"""What a feature space is: a network with a name that states how pictures go into it."""

from typing import Protocol, runtime_checkable

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

    def __call__(self, pictures: Tensor, /) -> Tensor:
        """Return the features (N, size) of pictures (N, 3, H, W) in [0, 1].

        Spaces of clips take (N, 3, T, H, W).
        """


@runtime_checkable
class ClassifyingSpace(FeatureSpace, Protocol):
    """A feature space whose network also says what it sees, as the Inception score needs it.

    Attributes:
        classes: how many logits there are.
    """

    @property
    def classes(self) -> int: ...  # noqa: D102

    def features_and_logits(self, pictures: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return the features (N, size) and logits (N, classes) of pictures, in one pass."""


@runtime_checkable
class SpatialSpace(ClassifyingSpace, Protocol):
    """A classifying space whose network also gives features that keep their places, as for sFID.

    Attributes:
        spatial_size: how many of these there are.
    """

    @property
    def spatial_size(self) -> int: ...  # noqa: D102

    def features_logits_and_spatial(self, pictures: Tensor, /) -> tuple[Tensor, Tensor, Tensor]:
        """Return features (N, size), logits (N, classes) and (N, spatial_size), in one pass."""
