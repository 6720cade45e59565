"""Grouped rotary position embedding (Sec. 6.2).

A head's channels are split in groups, one for each of segment (time), row, column and level.
Frequencies are log-spaced; spatial axes from half a turn over the unit interval to the Nyquist
rate of the finest grid the axis must resolve, segment and level from half a turn over the
longest horizon to at most pi per step. The paper gives none; these are kept in the config.
An axis that a token lacks has the coordinate 0 and is not rotated.
"""

from dataclasses import dataclass
from functools import cached_property
from math import log, pi
from typing import Any

import torch
from torch import Tensor, nn

from dcs_common.autograd import apply

AXES = ("segment", "row", "column", "level")


@dataclass(frozen=True, kw_only=True, slots=True)
class RopeConfig:
    """Frequencies, in radians per unit of the coordinate, and shares of channels.

    Attributes:
        spatial_steps: samples of the finest grid over the unit interval that rows and columns
            must resolve; the highest spatial frequency is ``pi * spatial_steps``.
        segment_horizon, level_horizon: the longest distance; the lowest frequency is pi over it.
        segment_step: distance of two neighbours in time (1 for segments; inside a patch the
            frames are fractions of one).
        shares: relative numbers of channel pairs for segment, row, column, level.
    """

    spatial_steps: int
    segment_horizon: int
    level_horizon: int = 8
    segment_step: float = 1.0
    shares: tuple[int, int, int, int] = (2, 5, 5, 4)

    def __post_init__(self) -> None:
        if min(self.spatial_steps, self.segment_horizon, self.level_horizon) < 1:
            raise ValueError(
                "Rotary grids and horizons must be at least 1, but are "
                f"{(self.spatial_steps, self.segment_horizon, self.level_horizon)}."
            )
        if not self.segment_step > 0:
            raise ValueError(
                f"`segment_step` must be positive, but is {self.segment_step}. "
                "Give the distance of two neighbours in time, 1 for segments."
            )
        if len(self.shares) != len(AXES) or min(self.shares) < 0 or sum(self.shares) < 1:
            raise ValueError(
                f"`shares` must be four non-negative integers, but is {self.shares}. "
                "Give one for each of segment, row, column, level."
            )


def split_pairs(pairs: int, shares: tuple[int, ...]) -> tuple[int, ...]:
    """Split channel pairs by shares, largest remainder first; the first axes win ties."""
    total = sum(shares)
    counts = [pairs * share // total for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (-(pairs * shares[i] % total), i))
    for i in by_remainder[: pairs - sum(counts)]:
        counts[i] += 1
    return tuple(counts)


def _log_spaced(low: float, high: float, count: int) -> Tensor:
    if count == 1:
        return torch.tensor([(low * high) ** 0.5], dtype=torch.float64, device="cpu")
    return torch.linspace(log(low), log(high), count, dtype=torch.float64, device="cpu").exp()


@dataclass(frozen=True, eq=False)
class Rotation:
    """Cosines and sines, (..., s, 1, head_dim / 2), to be applied to (..., s, heads, head_dim)."""

    cos: Tensor
    sin: Tensor

    @property
    def whole(self) -> tuple[Tensor, Tensor]:
        """Factors of a head's channels and of their partners, (..., s, 1, head_dim)."""
        # torch.compile knows no locks, which cached properties have, and needs no cache.
        return self._joined() if torch.compiler.is_compiling() else self._whole

    @cached_property
    def _whole(self) -> tuple[Tensor, Tensor]:
        return self._joined()

    def _joined(self) -> tuple[Tensor, Tensor]:
        return torch.cat([self.cos, self.cos], dim=-1), torch.cat([-self.sin, self.sin], dim=-1)

    def index(self, index: Tensor) -> "Rotation":
        """Select tokens along the sequence axis (-3)."""
        return Rotation(self.cos.index_select(-3, index), self.sin.index_select(-3, index))

    def slice(self, start: int, stop: int) -> "Rotation":
        """Narrow to tokens ``start`` to ``stop``."""
        return Rotation(self.cos[..., start:stop, :, :], self.sin[..., start:stop, :, :])


class _Rotate(torch.autograd.Function):
    """Rotate channel pairs (c, c + head_dim / 2) in one buffer; its gradient rotates back.

    Passes run over whole heads: half a head is too short a run for the processor's vectors.
    """

    @staticmethod
    def forward(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return x.roll(x.shape[-1] // 2, -1).mul_(sin).addcmul_(x, cos)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, cos, sin = inputs
        ctx.save_for_backward(cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _Rotate.apply(grad, cos, -sin), None, None


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Apply a rotation to queries or keys (..., s, heads, head_dim), in their precision."""
    cos, sin = rotation.whole
    return apply(_Rotate, x, cos.to(x.dtype), sin.to(x.dtype))


class GroupedRope(nn.Module):
    """Angles for coordinates (segment, row, column, level)."""

    def __init__(self, head_dim: int, config: RopeConfig) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"`head_dim` must be even, but is {head_dim}.")
        self.config = config
        self.pairs = split_pairs(head_dim // 2, config.shares)
        time, row, column, level = self.pairs
        spatial = (pi, pi * max(1, config.spatial_steps))
        # No buffer: angles are taken in float64 on the CPU, whatever the module's type and place
        # (a model may be built on the meta device).
        self._frequencies = torch.zeros(len(AXES), head_dim // 2, dtype=torch.float64, device="cpu")
        spans = [
            (pi / config.segment_horizon, pi / config.segment_step, time),
            (*spatial, row),
            (*spatial, column),
            (pi / config.level_horizon, pi, level),
        ]
        start = 0
        for axis, (low, high, count) in enumerate(spans):
            if count:
                self._frequencies[axis, start : start + count] = _log_spaced(low, high, count)
            start += count

    def forward(self, coordinates: Tensor, like: Tensor) -> Rotation:
        """Return the rotation at float64 ``coordinates`` (..., s, 4), cast as ``like``."""
        angles = (coordinates.double() @ self._frequencies).unsqueeze(-2)
        return Rotation(angles.cos().to(like), angles.sin().to(like))

    def extra_repr(self) -> str:
        """Pairs per axis."""
        return ", ".join(f"{axis}={count}" for axis, count in zip(AXES, self.pairs, strict=True))
