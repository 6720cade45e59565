"""Pictures with or without classes, as they come, and what evaluations keep of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_eval.eight_bit import to_bytes
from dcs_eval.features.feature_space import FeatureSpace
from dcs_eval.features.picture_collection import BATCH_PIXELS
from dcs_eval.nearest import shrink

_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PictureSet:
    """Pictures and the class of each.

    Attributes:
        pictures: (N, 3, H, W) in [0, 1], or any number of such tensors, one after another, each
            of its own N and size.
        labels: names of classes, in the order of the pictures; None where they have none.
    """

    pictures: Tensor | Iterable[Tensor]
    labels: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EmbeddedSet:
    """What is kept of a set of pictures.

    Attributes:
        features: (N, D).
        small: (N, 3, 32, 32) in [0, 1].
        labels: as given.
        sizes: the heights and widths that came.
    """

    features: Tensor
    small: Tensor
    labels: tuple[str, ...] | None
    sizes: frozenset[tuple[int, int]]

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.features)


def embed(pictures: PictureSet, features: FeatureSpace, what: str) -> EmbeddedSet:
    """Return the features of pictures, rounded to 8 bits as files hold them.

    Args:
        pictures: read once.
        features: the feature space.
        what: the pictures' name in messages, such as "the reference".

    Raises:
        ValueError: if there are fewer than 2, one is not usable, or labels are missing.
    """
    found: list[Tensor] = []
    small: list[Tensor] = []
    sizes: set[tuple[int, int]] = set()
    for batch in _batches(pictures.pictures, what):
        seen = to_bytes(batch).float().div(255)
        sizes.add((seen.shape[-2], seen.shape[-1]))
        found.append(features(seen).detach().cpu())
        small.append(shrink(seen))
    count = sum(map(len, found))
    if count < 2:
        raise ValueError(
            f"A Fréchet distance needs at least 2 pictures on each side, but {what} "
            f"{'is empty' if count == 0 else 'holds 1'}. Add pictures."
        )
    labels = None if pictures.labels is None else tuple(pictures.labels)
    if labels is not None and len(labels) != count:
        raise ValueError(
            f"Each picture must have one label, but {what} has {count} pictures and "
            f"{len(labels)} labels. Pass as many, or none."
        )
    return EmbeddedSet(
        features=torch.cat(found), small=torch.cat(small), labels=labels, sizes=frozenset(sizes)
    )


def _batches(pictures: Tensor | Iterable[Tensor], what: str) -> Iterator[Tensor]:
    """Yield the pictures in larger tensors, as far as neighbours have one size and memory."""
    waiting: list[Tensor] = []
    for some in [pictures] if isinstance(pictures, Tensor) else pictures:
        _check(some, what)
        most = max(1, min(_BATCH, BATCH_PIXELS * 3 // max(1, some[:1].numel())))
        for part in some.split(most):
            if waiting and (
                part.shape[1:] != waiting[0].shape[1:] or sum(map(len, waiting)) + len(part) > most
            ):
                yield torch.cat(waiting)
                waiting = []
            waiting.append(part)
    if waiting:
        yield torch.cat(waiting)


def _check(pictures: Tensor, what: str) -> None:
    if pictures.ndim != 4 or pictures.shape[1] != 3 or not pictures.is_floating_point():
        raise ValueError(
            f"Pictures must be float tensors (N, 3, H, W) in [0, 1], but {what} holds "
            f"{pictures.dtype} {tuple(pictures.shape)}. Pass RGB."
        )
    if pictures.numel() and not 0 <= pictures.min() <= pictures.max() <= 1:
        low, high = float(pictures.min()), float(pictures.max())
        raise ValueError(
            f"Pictures must lie in [0, 1], but {what} has values from {low:g} to {high:g}. "
            "Clamp or rescale them."
        )
