"""Figures 6 and 7 of our own: heat maps of samples, laws, contents and couplings."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import TYPE_CHECKING, Any

from torch import Tensor

from scaling.capacity_law import Capacity, CapacityLaw
from scaling.curves import Curve, by_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BRIGHTEST = 50.0  # dB; above, differences cannot be seen
_NEAR = 1.0
"""Cells within so many dB of a sample's own quality are in bold, as comparable ones in Fig. 6."""


def heat_maps(
    curves: Sequence[Curve],
    names: Sequence[str],
    targets: Mapping[str, float],
    thumbnails: Mapping[str, Tensor],
    unit: str,
) -> "Figure":
    """Draw PSNR over level count and scale for some samples, as Figures 6 and 7 do.

    Args:
        curves: of all samples.
        names: of those to draw.
        targets: each sample's own quality.
        thumbnails: (3, H, W) in [0, 1].
        unit: of scale.
    """
    figure = _figure(2.5 * len(names), 4.6)
    rows = figure.subplots(2, len(names), squeeze=False, height_ratios=(1, 2.2))
    values = [value for one in curves if one.sample in names for value in one.psnr]
    low, high = min(values), min(_BRIGHTEST, max(values))
    for column, name in enumerate(names):
        picture, heat = rows[0][column], rows[1][column]
        picture.imshow(thumbnails[name].permute(1, 2, 0).numpy())
        picture.set_axis_off()
        picture.set_title(name.replace("_", " "), fontsize=9)
        own = {scale: at[name] for scale, at in by_scale(curves).items() if name in at}
        cells = [list(one.psnr) for one in own.values()]
        heat.imshow(
            list(zip(*cells, strict=True)),
            aspect="auto",
            cmap="magma",
            vmin=low,
            vmax=high,
        )
        _write_cells(heat, cells, targets[name], low + 0.65 * (high - low))
        heat.set_xticks(range(len(own)), [str(scale) for scale in own], fontsize=7)
        heat.set_yticks(range(len(cells[0])), [str(m + 1) for m in range(len(cells[0]))])
        heat.set_xlabel(unit, fontsize=8)
    rows[1][0].set_ylabel("levels")
    return figure


def _write_cells(
    heat: "Axes", cells: Sequence[Sequence[float]], target: float, bright: float
) -> None:
    """Write PSNR into cells, black on what is brighter than ``bright``."""
    for x, values in enumerate(cells):
        for y, value in enumerate(values):
            is_near = abs(value - target) <= _NEAR
            heat.text(
                x,
                y,
                f"{value:.1f}",
                ha="center",
                va="center",
                fontsize=6.5,
                color="black" if value > bright else "white",
                fontweight="bold" if is_near else "normal",
                bbox={"fill": False, "edgecolor": "#39d353", "pad": 1.2} if is_near else None,
            )


def law_figure(capacities: Sequence[Capacity], law: CapacityLaw | None) -> "Figure":
    """Draw the tokens that each sample's own quality takes, and lines of exponents 1 and a."""
    figure = _figure(6.4, 4.4)
    axes = figure.subplots()
    names = sorted({one.sample for one in capacities})
    for i, name in enumerate(names):
        own = sorted((one for one in capacities if one.sample == name), key=lambda o: o.scale)
        exact = [one for one in own if one.known == "exactly"]
        color = f"C{i % 10}"
        axes.plot(
            [one.scale for one in exact],
            [one.tokens for one in exact],
            "-o",
            color=color,
            markersize=4,
            linewidth=1,
            markerfacecolor=color if i < 10 else "white",
            label=name.replace("_", " "),
        )
        for known, marker in (("at most", "v"), ("more", "^")):
            bounded = [one for one in own if one.known == known]
            axes.plot(
                [one.scale for one in bounded],
                # Side by side, as bounds of all samples are alike.
                [one.tokens * (1 + 0.012 * (i - len(names) / 2)) for one in bounded],
                marker,
                color=color,
                markersize=5,
                alpha=0.6,
            )
    axes.set(xscale="log", yscale="log", xlabel="pixels", ylabel="tokens for the sample's quality")
    _slopes(axes, capacities, law)
    axes.legend(fontsize=6.5, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _slopes(axes: "Axes", capacities: Sequence[Capacity], law: CapacityLaw | None) -> None:
    exact = [one for one in capacities if one.known == "exactly"]
    if not exact:
        return
    scales = [one.scale for one in exact]
    middle = exp(sum(map(log, scales)) / len(scales))
    height = exp(sum(log(one.tokens) for one in exact) / len(exact))
    ends = (min(scales), max(scales))
    lines = [(1.0, ":", "as pixels (exponent 1)")]
    if law is not None:
        lines.append((law.exponent, "--", f"exponent {law.text}"))
    for slope, style, label in lines:
        heights = [height * (end / middle) ** slope for end in ends]
        axes.plot(ends, heights, style, color="black", linewidth=1.6, label=label, zorder=1)


def content_figure(curves: Sequence[Curve], complexity: Mapping[str, float], levels: int) -> Any:
    """Draw PSNR against complexity at every common scale, and each sample's curve at one."""
    from matplotlib import colormaps

    figure = _figure(9, 3.8)
    left, right = figure.subplots(1, 2)
    found = by_scale(curves)
    ranked = sorted(complexity, key=lambda name: complexity[name])
    colors = colormaps["viridis"]
    shown = [scale for scale in found if len(found[scale]) == len(ranked)]
    for i, scale in enumerate(shown):
        color = colors(i / max(1, len(shown) - 1) * 0.9)
        values = [found[scale][name].psnr[levels - 1] for name in ranked]
        detail = [complexity[name] for name in ranked]
        left.plot(detail, values, "o", color=color, markersize=5, label=f"{scale} px")
    left.set(xscale="log", xlabel="complexity: mean squared step at 256 px", ylabel="PSNR, dB")
    left.set_title(f"{levels} levels", fontsize=9)
    left.legend(fontsize=7)
    middle = shown[len(shown) // 2]
    for i, name in enumerate(ranked):
        curve = found[middle][name]
        tokens = [m * curve.patches for m in range(1, len(curve.psnr) + 1)]
        right.plot(
            tokens,
            curve.psnr,
            "-",
            color=colors(i / (len(ranked) - 1) * 0.9),
            label=name.replace("_", " "),
        )
    right.set(xlabel="tokens", ylabel="PSNR, dB")
    right.set_title(f"{middle} px, simple to complex", fontsize=9)
    right.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def coupling_figure(comparison: Mapping[str, Any], names: Mapping[str, str]) -> "Figure":
    """Draw mean PSNR and tokens of every rival and level count over the side."""
    figure = _figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    styles = {"dcs": "-o", "vanilla": "--s", "fixed": ":^"}
    for kind, at_levels in comparison.items():
        for i, (levels, at_sides) in enumerate(at_levels.items()):
            sides = [int(side) for side in at_sides]
            means = [sum(one["psnr"].values()) / len(one["psnr"]) for one in at_sides.values()]
            counted = "1 level" if levels == "1" else f"{levels} levels"
            label = names[kind] if len(at_levels) == 1 else f"{names[kind]}, {counted}"
            color = f"C{i}" if kind == "dcs" else {"vanilla": "black", "fixed": "C7"}[kind]
            left.plot(sides, means, styles[kind], color=color, label=label, markersize=4)
            tokens = [one["tokens"] for one in at_sides.values()]
            right.plot(sides, tokens, styles[kind], color=color, markersize=4)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sides, [str(side) for side in sides])
        axes.set_xlabel("side, px")
    left.set_ylabel("PSNR, dB")
    right.set(yscale="log", ylabel="tokens")
    left.legend(fontsize=7)
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # late: CI's other tests run without it

    return Figure(figsize=(width, height), layout="constrained")
