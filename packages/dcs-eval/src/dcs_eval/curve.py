"""Rate-distortion curves, what they give at a rate, and how far apart two of them are."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A rate in bits per pixel and the quality reached at it."""

    bpp: float
    quality: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A quality, more of which is better, over log rate: piecewise cubic through its points.

    Points that another one beats with fewer bits are left out, for nobody would choose them. The
    cubic is PCHIP (Fritsch and Carlson 1980), which never overshoots between two points.

    Attributes:
        name: of the codec, for messages.
        points: in order of rate, with rising quality.
    """

    name: str
    points: tuple[CurvePoint, ...]

    @classmethod
    def through(cls, name: str, points: Sequence[tuple[float, float]]) -> "Curve":
        """Return the curve through pairs of bits per pixel and quality, in any order.

        Raises:
            ValueError: if there is no point, a rate is not positive, or a value not finite.
        """
        if not points:
            raise ValueError(
                f"A curve needs at least one point, but {name} has none. Measure settings that "
                "lose something."
            )
        kept: list[CurvePoint] = []
        for bpp, quality in sorted(points, key=lambda point: (point[0], -point[1])):
            if not (isfinite(bpp) and bpp > 0 and isfinite(quality)):
                raise ValueError(
                    f"A curve needs positive rates and finite qualities, but {name} has "
                    f"{quality:g} at {bpp:g} bits per pixel. Leave that setting out."
                )
            if not kept or quality > kept[-1].quality:
                kept.append(CurvePoint(bpp, quality))
        return cls(name, tuple(kept))

    def quality_at(self, bpp: float) -> float:
        """Return the quality at a rate between the first and the last.

        Raises:
            ValueError: if the rate lies outside.
        """
        first, last = self.points[0].bpp, self.points[-1].bpp
        if not first <= bpp <= last:
            raise ValueError(
                f"`bpp` must lie between {first:.4g} and {last:.4g}, the rates of {self.name}, "
                f"but is {bpp:g}. Measure more settings, or ask for another rate."
            )
        if bpp in (first, last):  # log and exp may round past the ends
            return self.points[0 if bpp == first else -1].quality
        rates = [log(point.bpp) for point in self.points]
        return float(_pchip(rates, [point.quality for point in self.points])(log(bpp)))


def bd_rate(anchor: Curve, test: Curve) -> float:
    """Return the Bjøntegaard rate difference: -0.1 where ``test`` needs 10 % fewer bits.

    The mean over the common range of qualities of the difference between the curves' log rates,
    as a ratio less 1 (Bjøntegaard, ITU-T SG16 VCEG-M33, 2001). Log rate over quality is piecewise
    cubic, not one cubic through all points, as that oscillates (Bjøntegaard, VCEG-AI11, 2008).

    Raises:
        ValueError: if the ranges do not overlap.
    """
    low, high = common_range(anchor, test)
    area = _log_rate(test).integrate(low, high) - _log_rate(anchor).integrate(low, high)
    return exp(float(area) / (high - low)) - 1


def common_range(first: Curve, second: Curve) -> tuple[float, float]:
    """Return the qualities, from low to high, that both curves reach.

    Raises:
        ValueError: if there are none.
    """
    ranges = [(curve.points[0].quality, curve.points[-1].quality) for curve in (first, second)]
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    if low >= high:
        texts = [
            f"{curve.name} reaches {low:.4g} to {high:.4g}"
            for curve, (low, high) in zip((first, second), ranges, strict=True)
        ]
        raise ValueError(
            f"Two curves must share a range of qualities, but {texts[0]} and {texts[1]}. "
            "Measure settings of one that come closer to the other."
        )
    return low, high


def _log_rate(curve: Curve) -> Any:
    return _pchip(
        [point.quality for point in curve.points], [log(point.bpp) for point in curve.points]
    )


def _pchip(xs: list[float], ys: list[float]) -> Any:
    # Late, as it takes longer to import than all the rest.
    from scipy.interpolate import PchipInterpolator  # type: ignore[import-untyped]

    return PchipInterpolator(xs, ys)
