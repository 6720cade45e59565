"""How many levels each patch keeps: the sampling that makes levels coarse-to-fine (Sec. 3.3, 6.3).

A *level map* is an integer tensor (b, t, h, w); patch p keeps levels 1 to map[p]. In training a
patch keeps m of n levels with probability ``p_m = m / (1 + ... + n)`` (Table 4).
"""

from typing import Literal

import torch
from torch import Tensor

LevelDraw = Literal["stratified", "independent", "sample"]
LevelWeights = Literal["linear", "equal"]


def level_probabilities(num_levels: int, weights: LevelWeights = "linear") -> Tensor:
    """Return p_1 to p_n, float64.

    "linear" is the paper's (Table 4): the last level is kept most often. "equal" treats all
    counts alike, for models that are judged at every count.

    Raises:
        ValueError: if ``weights`` is unknown.
    """
    if weights not in ("linear", "equal"):
        raise ValueError(f"`weights` must be 'linear' or 'equal', but is {weights!r}. Choose one.")
    if weights == "equal":
        return torch.full((num_levels,), 1 / num_levels, dtype=torch.float64)
    counts = torch.arange(1, num_levels + 1, dtype=torch.float64)
    return counts / counts.sum()


def sample_level_map(
    shape: tuple[int, int, int, int],
    num_levels: int,
    *,
    draw: LevelDraw = "stratified",
    weights: LevelWeights = "linear",
    uniform_share: float = 0.0,
    full_share: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw a level map for a batch.

    Args:
        shape: (b, t, h, w).
        num_levels: n.
        draw: "independent" draws every patch by itself, as the paper does. "stratified" gives
            the patch of random rank r of N in its segment the count ``F^-1((r + u) / N)`` with F
            the cumulative p_m and one uniform number u for the batch: every patch's marginal is
            the same, and every segment of every sample has equally many tokens at each level, so
            all tensors are rectangular. "sample" draws one count for all patches of a sample, as
            the DiT does.
        weights: of the counts, see :func:`level_probabilities`.
        uniform_share: the probability that the whole batch gets one count for all patches,
            drawn from the same p_m. Level maps of the paper's kind never show the uniform
            grid that evaluation and the DiT use.
        full_share: the probability of n levels, beside what the weights give them: files mostly
            hold all levels.
        generator: source of randomness.

    Returns:
        int64 (b, t, h, w) with values in 1 to ``num_levels``.

    Raises:
        ValueError: if a share is not a probability or ``draw`` is unknown.
    """
    for name, share in (("uniform_share", uniform_share), ("full_share", full_share)):
        if not 0 <= share <= 1:
            raise ValueError(f"`{name}` must be in [0, 1], but is {share}.")
    if draw not in ("stratified", "independent", "sample"):
        raise ValueError(
            f"`draw` must be 'stratified', 'independent' or 'sample', but is {draw!r}. "
            "Choose one of them."
        )
    batch, segments, rows, columns = shape
    patches = rows * columns
    probabilities = (1 - full_share) * level_probabilities(num_levels, weights)
    probabilities[-1] += full_share
    cumulative = probabilities.cumsum(0)

    def count(quantile: Tensor) -> Tensor:
        return torch.searchsorted(cumulative[:-1].contiguous(), quantile, right=True) + 1

    if uniform_share and torch.rand((), generator=generator) < uniform_share:
        return count(torch.rand(1, dtype=torch.float64, generator=generator)).expand(shape).clone()
    if draw == "sample":
        counts = count(torch.rand(batch, 1, 1, 1, dtype=torch.float64, generator=generator))
        return counts.expand(shape).clone()
    if draw == "independent":
        return count(torch.rand(shape, dtype=torch.float64, generator=generator))
    offset = torch.rand((), dtype=torch.float64, generator=generator)
    by_rank = count((torch.arange(patches, dtype=torch.float64) + offset) / patches)
    order = torch.rand(batch, segments, patches, generator=generator).argsort(dim=-1)
    return by_rank[order].view(shape)


def check_level_map(levels: int | Tensor, shape: tuple[int, ...], num_levels: int) -> Tensor:
    """Turn a level count or map into a checked int64 map of ``shape`` (b, t, h, w).

    A map may be (b, t, h, w) or, shared by the batch, (t, h, w).

    Raises:
        ValueError: if a count lies outside 1 to ``num_levels``, or the map has another shape or a
            dtype that is not an integer.
    """
    if isinstance(levels, Tensor):
        if levels.dtype.is_floating_point or levels.dtype.is_complex or levels.dtype == torch.bool:
            raise ValueError(
                f"A level map must hold integers, but its dtype is {levels.dtype}. "
                "Convert it with `.long()`."
            )
        if tuple(levels.shape) not in (shape, shape[1:]):
            raise ValueError(
                f"A level map must have the shape {shape} or {shape[1:]} of the patch grid, but "
                f"has {tuple(levels.shape)}. Make one count per patch."
            )
        level_map = levels.long().expand(shape)
        low, high = int(level_map.min()), int(level_map.max())
    else:
        if isinstance(levels, bool) or not isinstance(levels, int):
            raise ValueError(
                f"`levels` must be an integer or an integer tensor, but is {levels!r}. "
                f"Give a count from 1 to {num_levels}."
            )
        low = high = levels
        level_map = None
    if low < 1 or high > num_levels:
        wrong = low if low < 1 else high
        raise ValueError(
            f"`levels` must be between 1 and {num_levels}, but is {wrong}. "
            f"This model was trained with {num_levels} levels."
        )
    if level_map is None:
        level_map = torch.full(shape, low, dtype=torch.int64)
    return level_map
