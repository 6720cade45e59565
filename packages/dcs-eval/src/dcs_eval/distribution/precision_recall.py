"""Precision and recall of generated pictures (Kynkäänniemi et al. 2019)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_eval.distribution.feature_rows import check_one_space, feature_rows

NEIGHBOURS = 3  # k, as in the paper
_ENTRIES = 2**22  # of a block of the table of distances: 32 MiB
_ROUNDING = 1e-12  # of a squared distance, relative to the squared lengths that it is made of


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionRecall:
    """How two sets of pictures cover each other.

    Attributes:
        precision: the share of samples that lie among real pictures: quality.
        recall: the share of real pictures that lie among samples: diversity.
    """

    precision: float
    recall: float


def precision_recall(
    samples: Tensor, reference: Tensor, *, neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
    """Return precision and recall of samples.

    A picture lies among others if it is in the ball around one of them that reaches to its
    ``neighbours``-th nearest neighbour in its own set. Both shares depend on both counts: compare
    only at equal ones. Computed in float64, block by block: memory does not grow with N times M.

    Args:
        samples, reference: features (N, D) and (M, D); N and M may differ.
        neighbours: k.

    Raises:
        ValueError: if a set holds too few pictures, or the features are not usable.
    """
    exact, real = feature_rows(samples), feature_rows(reference)
    check_one_space(exact.shape[1], real.shape[1])
    if neighbours < 1:
        raise ValueError(f"`neighbours` must be at least 1, but is {neighbours}. The usual are 3.")
    if min(len(exact), len(real)) <= neighbours:
        raise ValueError(
            f"Precision and recall with {neighbours} neighbours need at least {neighbours + 1} "
            f"pictures on each side, but there are {len(exact)} samples and {len(real)} of the "
            "reference. Add pictures."
        )
    # Distances from a common centre lose fewer digits to the lengths of the features.
    exact, real = exact - real.mean(0), real - real.mean(0)
    return PrecisionRecall(
        precision=_share_inside(exact, real, _squared_radii(real, neighbours)),
        recall=_share_inside(real, exact, _squared_radii(exact, neighbours)),
    )


def _squared_radii(rows: Tensor, neighbours: int) -> Tensor:
    """Return the squared distance (N) of each row to its k-th nearest other row."""
    found: list[Tensor] = []
    done = 0
    for block in rows.split(_rows_of_a_block(len(rows))):
        squares, _ = _squared_distances(block, rows)
        own = torch.arange(len(block))
        squares[own, done + own] = torch.inf  # a row is no neighbour of its own
        done += len(block)
        found.append(squares.kthvalue(neighbours, dim=1).values)
    return torch.cat(found)


def _share_inside(rows: Tensor, centres: Tensor, squared_radii: Tensor) -> float:
    """Return the share of rows that lie in at least one ball, its surface included."""
    inside = 0
    for block in rows.split(_rows_of_a_block(len(centres))):
        squares, rounding = _squared_distances(block, centres)
        # A copy of the neighbour that a ball reaches to lies on its surface, rounded or not.
        inside += int((squares - rounding <= squared_radii).any(1).sum())
    return inside / len(rows)


def _squared_distances(block: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return squared distances (n, N), and how far rounding may have moved them at most."""
    lengths = block.square().sum(1)[:, None] + rows.square().sum(1)
    return torch.addmm(lengths, block, rows.T, alpha=-2), _ROUNDING * lengths


def _rows_of_a_block(columns: int) -> int:
    return max(1, _ENTRIES // columns)
