"""Tables, plots and verdicts of ``adaptive_allocation.py``."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dcs_eval.mean_interval import MeanInterval, mean_interval
from launching import Context
from records import Claim, Picture, Plot, Report, Table
from scaling.sheet import column, row
from scaling.verdict_of_interval import signed, verdict_above

Rows = Sequence[Mapping[str, Any]]
NAMES = {
    "uniform": "uniform",
    "entropy": "by entropy (Algorithm 1)",
    "greedy": "by measured gains (ours)",
    "predicted": "by predicted gains (ours)",
}
PAPER = {"uniform": "34.25", "entropy": "34.99 (+0.74)"}
SHOWN = 4
_COLORS = ((0.16, 0.2, 0.45), (0.2, 0.62, 0.6), (0.98, 0.86, 0.25))
"""Of one, two and three levels."""


def report(context: Context) -> Report:
    """Compare with Figure 11."""
    found = context.result("allocate")
    rows, methods = found["rows"], found["methods"]
    maps = torch.load(context.folder_of("allocate") / "maps.pt", weights_only=True)
    most = _most_uneven(maps)
    return Report(
        tables=(_table(rows, methods),),
        claims=_claims(rows, methods),
        plots=(
            Plot(
                name="gains",
                figure=_figure(rows, methods),
                caption="Gain of each photo over two levels everywhere, by the gain of measured "
                "allocation.",
            ),
        ),
        pictures=(
            Picture(
                name="maps",
                pixels=column([_shown(maps[name]) for name in most]),
                caption="Photos and how many levels their patches get (blue 1, green 2, yellow 3): "
                + ", ".join(NAMES[method] for method in methods)
                + ".",
            ),
        ),
        notes=(
            "PSNR of different tables of the paper is not comparable: Figure 11 has 34.25 dB at "
            "two levels, Table 6 has 26.44 dB.",
            "A photo's gain is against its own uniform count; the mean of levels never exceeds it.",
        ),
    )


def gain(rows: Rows, method: str) -> MeanInterval:
    """Return the gain over the uniform count in dB, paired by photo."""
    return mean_interval(one[method]["psnr"] - one["uniform"]["psnr"] for one in rows)


def _claims(rows: Rows, methods: Sequence[str]) -> tuple[Claim, ...]:
    best = max(methods, key=lambda method: gain(rows, method).mean)
    claims = [
        Claim(
            key="allocation-gains",
            statement="Levels allocated by entropy beat a uniform count at equal budget",
            source="Fig. 11; Sec. 4.6",
            paper="+0.74 dB (34.25 to 34.99)",
            ours=_said(rows, "entropy"),
            verdict=verdict_above(gain(rows, "entropy")),
        )
    ]
    if best != "entropy":
        more = mean_interval(one[best]["psnr"] - one["entropy"]["psnr"] for one in rows)
        claims.append(
            Claim(
                key="allocation-gains",
                statement="Allocation by gains, not entropy, has more to give",
                source="Sec. 4.6 (its entropy is called naive)",
                paper="no figure",
                ours=f"{NAMES[best]}: {_said(rows, best)}, {signed(more)} dB more than by entropy",
                verdict=verdict_above(more),
            )
        )
    return tuple(claims)


def _said(rows: Rows, method: str) -> str:
    better = sum(one[method]["psnr"] > one["uniform"]["psnr"] for one in rows)
    before = mean_interval(one["uniform"]["psnr"] for one in rows).mean
    after = mean_interval(one[method]["psnr"] for one in rows).mean
    return (
        f"{signed(gain(rows, method))} dB ({before:.2f} to {after:.2f}), {better} of {len(rows)} "
        "photos gain"
    )


def _table(rows: Rows, methods: Sequence[str]) -> Table:
    lines: list[tuple[str | None, ...]] = []
    for method in ("uniform", *methods):
        lines.append(
            (
                NAMES[method],
                mean_interval(one[method]["psnr"] for one in rows).text(2),
                "–" if method == "uniform" else signed(gain(rows, method)),
                f"{mean_interval(one[method]['levels'] for one in rows).mean:.3f}",
                PAPER.get(method, "–"),
            )
        )
    return Table(
        title="PSNR at an average of two levels, one to three a patch, dB",
        columns=("allocation", "PSNR", "gain", "levels, mean", "paper"),
        rows=tuple(lines),
        note=f"{len(rows)} photos at 256 px, 16 x 16 patches; ± is half the 95 % t interval over "
        "photos, of gains within each.",
    )


def _figure(rows: Rows, methods: Sequence[str]) -> Any:
    from matplotlib.figure import Figure

    by = "greedy" if "greedy" in methods else methods[0]
    ordered = sorted(rows, key=lambda one: one[by]["psnr"] - one["uniform"]["psnr"])[-40:]
    figure = Figure(figsize=(6.4, 0.26 * len(ordered) + 1.3), layout="constrained")
    axes = figure.subplots()
    for i, method in enumerate(methods):
        gains = [one[method]["psnr"] - one["uniform"]["psnr"] for one in ordered]
        axes.plot(gains, range(len(ordered)), "osD"[i % 3], markersize=5, label=NAMES[method])
    axes.axvline(0, color="black", linewidth=1)
    names = [one["sample"].replace("_", " ") for one in ordered]
    axes.set_yticks(range(len(ordered)), names, fontsize=8)
    axes.set_xlabel("gain over two levels everywhere, dB")
    axes.legend(fontsize=8)
    return figure


def _most_uneven(maps: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """Return the photos whose first map varies most in large parts: coarse means differ."""

    def unevenness(name: str) -> float:
        levels = maps[name]["levels"][0].double()
        return float(torch.nn.functional.avg_pool2d(levels[None, None], 4).var())

    return sorted(maps, key=unevenness, reverse=True)[:SHOWN]


def _shown(found: Mapping[str, Tensor]) -> Tensor:
    picture = found["picture"].float() / 255
    colors = torch.tensor(_COLORS)
    grey = picture.mean(dim=0)
    parts = [picture]
    for levels in found["levels"]:
        size = (picture.shape[1], picture.shape[2])
        large = torch.nn.functional.interpolate(levels[None, None].float(), size)[0, 0].long()
        color = colors[(large - 1).clamp(0, len(_COLORS) - 1)].permute(2, 0, 1)
        parts.append(color * (0.55 + 0.45 * grey))
    return row(parts)
