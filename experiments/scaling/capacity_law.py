"""How the tokens that a quality takes grow with scale: ``tokens = c * scale ** a`` (Fig. 6, 7).

``a`` is 0 where scale costs nothing, 1 where tokens grow with the pixels as those of a vanilla
tokenizer do, and between them growth is sublinear. Every sample has a ``c`` of its own: content
decides that, and the law is about one sample at several scales.

Censoring. Where one level is more than a quality takes, tokens are known to be *at most* those of
one level; where no level count reaches it, *more* than those of all. Leaving such samples out would
bend the line, as it is the hard ones that drop out at large scales and the easy ones at small
scales. They enter the likelihood by what is known of them (Tobin's regression), which is maximised
by expectation and maximisation: a censored logarithm is replaced by its mean under the present
line, and the line fitted again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Literal

import torch
from torch import Tensor

Known = Literal["exactly", "at most", "more"]
_STEPS, _TOLERANCE = 5000, 1e-7
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """The tokens that one sample takes for a quality at one scale.

    Attributes:
        sample: its name.
        scale: pixels, or frames per second; any unit.
        tokens: how many, or the bound.
        known: whether that number is exact, an upper bound, or a lower one.
    """

    sample: str
    scale: float
    tokens: float
    known: Known


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacityLaw:
    """The fitted exponent.

    Attributes:
        exponent: a.
        half_width: half its 95 % interval, by leaving out each sample in turn.
        samples: that the law rests on.
        left_out: whose tokens are known nowhere, so that they say nothing of the slope.
        exact, at_most, more: measurements of each kind among those used.
        deviation: of the logarithms around the lines.
    """

    exponent: float
    half_width: float
    samples: int
    left_out: int
    exact: int
    at_most: int
    more: int
    deviation: float

    @property
    def text(self) -> str:
        """``a ± half width``, as tables show it."""
        return f"{self.exponent:.2f} ± {self.half_width:.2f}"


def capacity_for(
    sample: str, scale: float, psnr: Sequence[float], target: float, tokens_per_level: float
) -> Capacity:
    """Return the tokens that a sample takes to reach a PSNR.

    Between two level counts PSNR is taken as linear: an average of 2.4 levels is what a level map
    of 2 and 3 levels a patch has.

    Args:
        sample, scale: as of :class:`Capacity`.
        psnr: by level count, from one on, in dB.
        target: in dB.
        tokens_per_level: patches of the sample.
    """
    reached = next((m for m, value in enumerate(psnr, start=1) if value >= target), None)
    if reached is None:
        known: Known = "more"
        levels = float(len(psnr))
    elif reached == 1:
        known = "exactly" if psnr[0] == target else "at most"
        levels = 1.0
    else:
        known = "exactly"
        below, above = psnr[reached - 2], psnr[reached - 1]
        levels = reached - 1 + (target - below) / (above - below)
    return Capacity(sample=sample, scale=scale, tokens=levels * tokens_per_level, known=known)


def fit_capacity_law(measured: Sequence[Capacity]) -> CapacityLaw | None:
    """Fit the law over all samples; None where fewer than three say anything of it.

    A sample does if its tokens are known exactly at one scale at least, and it was measured at
    two. The interval is Student's over the jackknife of samples: each is left out in turn, so
    that the scales of one sample, which are alike, count as one and not as many.
    """
    known = _telling(measured)
    names = sorted({one.sample for one in known})
    everyone = {one.sample for one in measured}
    if len(names) < 3:
        return None
    group = torch.tensor([names.index(one.sample) for one in known])
    x = torch.tensor([log(one.scale) for one in known], dtype=torch.float64)
    y = torch.tensor([log(one.tokens) for one in known], dtype=torch.float64)
    sign = torch.tensor(
        [{"exactly": 0.0, "at most": -1.0, "more": 1.0}[one.known] for one in known],
        dtype=torch.float64,
    )
    count = len(names)
    weights = torch.ones(count + 1, count, dtype=torch.float64)
    weights[1:].fill_diagonal_(0)
    exponents, deviations = _maximise(x, y, sign, group, weights)
    without = exponents[1:]
    error = sqrt((count - 1) / count * float((without - without.mean()).square().sum()))
    # Late, as it takes long to import.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return CapacityLaw(
        exponent=float(exponents[0]),
        half_width=float(stdtrit(count - 1, 0.975)) * error,
        samples=count,
        left_out=len(everyone) - count,
        exact=sum(one.known == "exactly" for one in known),
        at_most=sum(one.known == "at most" for one in known),
        more=sum(one.known == "more" for one in known),
        deviation=float(deviations[0]),
    )


def _telling(measured: Sequence[Capacity]) -> list[Capacity]:
    scales: dict[str, set[float]] = {}
    for one in measured:
        scales.setdefault(one.sample, set()).add(one.scale)
    exact = {one.sample for one in measured if one.known == "exactly"}
    return [one for one in measured if one.sample in exact and len(scales[one.sample]) > 1]


def _maximise(
    x: Tensor, y: Tensor, sign: Tensor, group: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return slopes and deviations (w,), one for each row of weights (w, groups).

    Args:
        x, y: logarithms of scale and tokens.
        sign: 1 where tokens are more than ``y``, -1 where less, 0 where equal.
        group: of each measurement; each has an intercept of its own.
        weights: of groups.
    """
    member = torch.nn.functional.one_hot(group).double()  # (i, groups)
    mean_of = member / member.sum(dim=0)
    centred = x - (x @ mean_of)[group]
    own = weights[:, group]  # (w, i)
    spread = (own * centred**2).sum(dim=1)
    expected, variance = y.expand_as(own), torch.zeros_like(own)
    slope = torch.zeros(len(weights), dtype=torch.float64)
    deviation = slope
    for _ in range(_STEPS):
        last = slope
        means = (expected @ mean_of)[:, group]
        slope = (own * centred * (expected - means)).sum(dim=1) / spread
        line = means + slope[:, None] * centred
        squares = own * ((expected - line) ** 2 + variance)
        deviation = (squares.sum(dim=1) / own.sum(dim=1)).sqrt().clamp(min=_LEAST_DEVIATION)
        expected, variance = _beyond(line, y, sign, deviation[:, None])
        if float((slope - last).abs().max()) < _TOLERANCE:
            break
    return slope, deviation


def _beyond(line: Tensor, y: Tensor, sign: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of normal values around ``line``, given the side of y they are on.

    With z = s (y - line) / sigma and the hazard h = phi(z) / (1 - Phi(z)), the mean is
    ``line + s sigma h`` and the variance ``sigma^2 (1 + z h - h^2)``.
    """
    z = sign * (y - line) / deviation
    log_density = -0.5 * z**2 - 0.9189385332046727  # log sqrt(2 pi)
    hazard = (log_density - torch.special.log_ndtr(-z)).exp()
    censored = sign != 0
    mean = torch.where(censored, line + sign * deviation * hazard, y.expand_as(line))
    variance = torch.where(censored, deviation**2 * (1 + z * hazard - hazard**2), 0.0)
    return mean, variance.clamp(min=0)
