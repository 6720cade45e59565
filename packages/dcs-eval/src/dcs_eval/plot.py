"""One plot as inline SVG: a quality over bits per pixel on a log axis, each line named at its end.

Colours and fonts come from the page's style sheet, so that a plot follows its light or dark mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 18, 14, 46
_LABEL_HEIGHT = 17
_LETTER_WIDTH = 7.4


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A codec's line.

    Attributes:
        name: the label at its end.
        style: CSS classes, which give it its colour.
        points: bits per pixel, value, and what a tooltip says, in order of rate.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float, str]]


@dataclass(slots=True)
class _Label:
    line: Line
    x: float
    y: float

    def hides(self, other: "_Label") -> bool:
        apart = abs(self.x - other.x) > _LETTER_WIDTH * max(
            map(len, (self.line.name, other.line.name))
        )
        return not apart and abs(self.y - other.y) < _LABEL_HEIGHT


def plot(lines: Sequence[Line], *, title: str, width: int, height: int, style: str = "") -> str:
    """Return the plot as an ``svg`` element.

    Args:
        lines: at least one, each with at least one point.
        title: of the vertical axis.
        width, height: in CSS pixels, at which texts have their intended size.
        style: CSS classes of the element.
    """
    margin = _RIGHT + _LETTER_WIDTH * max(len(line.name) for line in lines)
    rates = [log10(bpp) for line in lines for bpp, _, _ in line.points]
    values = [value for line in lines for _, value, _ in line.points]
    ticks = _even_ticks(min(values), max(values), count=max(3, height // 70))
    x0, x1 = min(rates) - 0.02, max(max(rates), min(rates) + 0.1) + 0.02
    y0, y1 = ticks[0], ticks[-1]

    def place(bpp: float, value: float) -> tuple[float, float]:
        x = _LEFT + (log10(bpp) - x0) / (x1 - x0) * (width - _LEFT - margin)
        y = height - _BOTTOM - (value - y0) / (y1 - y0) * (height - _TOP - _BOTTOM)
        return x, y

    parts = [
        f'<svg class="{style}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)} over bits per pixel">'
    ]
    for tick in ticks:
        _, y = place(10**x0, tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{width - margin:.1f}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 8}" y="{y + 4:.1f}">{tick:g}</text>')
    for rate in _rate_ticks(x0, x1):
        x, _ = place(rate, y0)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{height - _BOTTOM}"/>')
        parts.append(
            f'<text class="tick middle" x="{x:.1f}" y="{height - _BOTTOM + 18}">{rate:g}</text>'
        )
    middle = (_LEFT + width - margin) / 2
    parts.append(
        f'<text class="axis middle" x="{middle:.1f}" y="{height - 8}">bits per pixel</text>'
    )
    labels = []
    for line in lines:
        places = [place(bpp, value) for bpp, value, _ in line.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<g class="{line.style}"><path class="line" d="M{path}"/>')
        for (x, y), (_, _, about) in zip(places, line.points, strict=True):
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(about)}</title></circle>'
            )
        parts.append("</g>")
        labels.append(_Label(line, places[-1][0] + 9, places[-1][1] + 4))
    _spread(labels, height - _BOTTOM)
    parts += [
        f'<text class="label {label.line.style}" x="{label.x:.1f}" y="{label.y:.1f}">'
        f"{escape(label.line.name)}</text>"
        for label in labels
    ]
    return "".join([*parts, "</svg>"])


def _spread(labels: list[_Label], bottom: float) -> None:
    """Move labels down where they would hide one another, then up again from the bottom."""
    ordered = sorted(labels, key=lambda label: label.y)
    for index, label in enumerate(ordered):
        for above in ordered[:index]:
            if label.hides(above):
                label.y = above.y + _LABEL_HEIGHT
    limit = bottom
    for label in reversed(ordered):
        if label.y > limit:
            label.y = limit
            limit -= _LABEL_HEIGHT


def _even_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about ``count`` round numbers of one step that enclose a range."""
    span = max(high - low, 1e-9 * max(abs(high), 1.0), 1e-12)
    rough = span / count
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def _rate_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two log10 rates."""
    candidates = [
        factor * 10.0**power
        for power in range(floor(low) - 1, ceil(high) + 1)
        for factor in (1, 2, 5)
    ]
    return [rate for rate in candidates if low - 1e-9 <= log10(rate) <= high + 1e-9]
