"""The kernel distance of two sets of features (Bińkowski et al. 2018): unbiased for few pictures.

It is called KID only on the features of one certain Inception network: name the space instead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_eval.distribution.feature_rows import check_one_space, feature_rows
from dcs_eval.metrics import import_metrics

SUBSETS = 100  # as the paper's code draws
SUBSET_SIZE = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelDistance:
    """The squared maximum mean discrepancy, over subsets; usually printed times 1000.

    Attributes:
        mean: less is better; slightly below 0 for sets that cannot be told apart.
        deviation: of single subsets, without Bessel's correction. Subsets overlap: it is no
            confidence interval.
        subsets: how many were drawn.
        subset_size: pictures in each.
    """

    mean: float
    deviation: float
    subsets: int
    subset_size: int


def kernel_distance(
    samples: Tensor,
    reference: Tensor,
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelDistance:
    """Return the kernel distance of two sets of features.

    For ``subsets`` times as many pictures of either side, drawn without replacement, torchmetrics'
    unbiased estimate with the kernel ``k(x, y) = (x y / D + 1)^3``:
    ``(sum of k(x, x') + sum of k(y, y')) / (m (m - 1)) - 2 mean of k(x, y)``, x' and y' other
    pictures than x and y. Computed in float64.

    Args:
        samples, reference: (N, D) and (M, D); N and M may differ.
        subsets: how often to draw.
        subset_size: m, pictures of each side in a subset.
        seed: of what is drawn, in the order in which torchmetrics' class draws.

    Raises:
        ValueError: if torchmetrics is not installed, there are fewer pictures than a subset takes,
            or the features are not usable.
    """
    exact, real = feature_rows(samples), feature_rows(reference)
    check_one_space(exact.shape[1], real.shape[1])
    if subsets < 1 or subset_size < 2:
        raise ValueError(
            "A kernel distance needs at least 1 subset of 2 pictures, but `subsets` is "
            f"{subsets} and `subset_size` is {subset_size}. The usual are {SUBSETS} and "
            f"{SUBSET_SIZE}."
        )
    if subset_size > min(len(exact), len(real)):
        raise ValueError(
            "`subset_size` must be at most the number of pictures on each side, but is "
            f"{subset_size}, and there are {len(exact)} samples and {len(real)} of the "
            "reference. Pass a smaller one, and state it with the figure."
        )
    estimate = import_metrics("torchmetrics.image.kid").poly_mmd
    generator = torch.Generator().manual_seed(seed)

    def drawn(rows: Tensor) -> Tensor:
        return rows[torch.randperm(len(rows), generator=generator)[:subset_size]]

    found = torch.stack([estimate(drawn(real), drawn(exact)) for _ in range(subsets)])
    return KernelDistance(
        mean=float(found.mean()),
        deviation=float(found.std(correction=0)),
        subsets=subsets,
        subset_size=subset_size,
    )
