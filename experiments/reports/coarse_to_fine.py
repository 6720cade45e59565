"""Tables, plots and verdicts of ``coarse_to_fine.py``."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dcs_eval.mean_interval import MeanInterval, mean_interval
from launching import Context
from records import Claim, Picture, Plot, Report, Table, Verdict
from scaling.generation_cost import recompute_factor
from scaling.sheet import column, row
from scaling.verdict_of_interval import verdict_below

Measured = Mapping[str, Any]
SAME_FLOPS = 1e-3
"""Counts that differ by less are the same; one layout's rotations are computed level by level."""
DEAREST = 1.15
"""Times up to this ratio count as the same cost: calls of single levels are smaller and more."""
EQUAL = 1e-3
"""Largest difference of results, of the deviation of latents, in float32."""


def report(context: Context) -> Report:
    """Compare with Figures 5 and 10."""
    found = [context.result(name) for name in context.stages if name.startswith("cost-")]
    previews = context.result("previews")
    cached = [one for one in found if one["cache"] == "device"]
    largest = max(cached, key=lambda one: one["grid"][0] * one["grid"][1])
    return Report(
        tables=(_table(found), _level_table(cached)),
        claims=(*_same_cost(cached, largest), *_early(largest)),
        plots=(
            Plot(
                name="levels",
                figure=_figure(cached),
                caption="Time until each level is there, of the time of all levels at once; the "
                "dotted line is the share of FLOPs.",
            ),
        ),
        pictures=(_sheet(context, previews),),
        notes=_notes(context, found),
    )


def time_ratio(measured: Measured) -> MeanInterval:
    """Return level by level over all at once, over repeats in turn."""
    return mean_interval(levels[-1] / whole for levels, whole in measured["seconds"])


def preview_share(measured: Measured) -> MeanInterval:
    """Return the share of the whole progressive run after which level 1 is there."""
    return mean_interval(levels[0] / levels[-1] for levels, _ in measured["seconds"])


def flop_ratio(measured: Measured) -> float:
    """Return level by level over all at once."""
    return measured["flops"]["progressive"] / measured["flops"]["joint"]


# ---------------------------------------------------------------------- claims


def _same_cost(cached: Sequence[Measured], largest: Measured) -> tuple[Claim, ...]:
    flops = ", ".join(f"{flop_ratio(one):.5f} on {_grid(one)}" for one in cached)
    times = ", ".join(f"{time_ratio(one).text(3)} on {_grid(one)}" for one in cached)
    same = all(abs(flop_ratio(one) - 1) < SAME_FLOPS for one in cached)
    differences = [one["difference"] / one["deviation"] for one in cached]
    return (
        Claim(
            key="same-cost",
            statement="Level by level takes the FLOPs of all levels at once",
            source="Fig. 5; Sec. 3.3",
            paper="identical, by construction",
            ours=f"ratio {flops}",
            verdict=_verdict(same),
        ),
        Claim(
            key="same-cost",
            statement="Level by level takes the time of all levels at once",
            source="Fig. 5; Sec. 3.3",
            paper="no time given",
            ours=f"ratio {times}, over {len(largest['seconds'])} repeats in turn; judged on "
            f"{_grid(largest)}, at most {DEAREST:g}",
            verdict=verdict_below(time_ratio(largest), DEAREST),
        ),
        Claim(
            key="same-cost",
            statement="Level by level gives the result of all levels at once",
            source="Fig. 5; Sec. 3.3",
            paper="by construction",
            ours=f"largest difference {max(differences):.1e} deviations of the latents",
            verdict=_verdict(max(differences) < EQUAL),
        ),
    )


def _early(largest: Measured) -> tuple[Claim, ...]:
    share = preview_share(largest)
    seconds = mean_interval(levels[0] for levels, _ in largest["seconds"])
    return (
        Claim.answering(
            "early-preview",
            ours=(
                f"after {share.text(3)} of the whole, {seconds.text(2)} s of "
                f"{largest['samples']} samples and {largest['steps']} steps on {_grid(largest)} "
                f"with {largest['levels']} levels"
            ),
            verdict=verdict_below(share, 0.5),
        ),
    )


def _verdict(holds: bool) -> Verdict:
    return "reproduced in sign" if holds else "not reproduced"


def _grid(measured: Measured) -> str:
    return f"{measured['grid'][0]} x {measured['grid'][1]}"


# ---------------------------------------------------------------------- tables


def _table(found: Sequence[Measured]) -> Table:
    rows = [
        (
            f"{_grid(one)}, {one['levels']} levels",
            one["cache"],
            f"{flop_ratio(one):.4f}",
            time_ratio(one).text(3),
            preview_share(one).text(3),
            f"{one['difference'] / one['deviation']:.1e}",
            f"{one['cache MiB']:.0f}",
        )
        for one in found
    ]
    return Table(
        title="Level by level against all levels at once",
        columns=(
            "patches",
            "keys and values",
            "FLOPs: ratio",
            "time: ratio",
            "first preview, of the whole",
            "largest difference, deviations",
            "cache, MiB",
        ),
        rows=tuple(rows),
        note="± is half the 95 % t interval over repeats in turn. Without a cache every level is "
        "computed again for each one above it, (1 + ... + n) / n times: "
        + ", ".join(
            f"{recompute_factor(one['levels']):g} for {one['levels']}"
            for one in found
            if one["cache"] == "recompute"
        )
        + ".",
    )


def _level_table(cached: Sequence[Measured]) -> Table:
    most = max(one["levels"] for one in cached)
    rows = []
    for one in cached:
        shares = _level_shares(one)
        rows.append(
            (_grid(one), *(share.text(2) for share in shares), *("–",) * (most - len(shares)))
        )
    return Table(
        title="Time until each level is there, of all levels at once",
        columns=("patches", *(f"level {m}" for m in range(1, most + 1))),
        rows=tuple(rows),
        note="Keys and values on the device.",
    )


def _level_shares(measured: Measured) -> list[MeanInterval]:
    return [
        mean_interval(levels[m] / whole for levels, whole in measured["seconds"])
        for m in range(measured["levels"])
    ]


# ---------------------------------------------------------------------- plots and pictures


def _figure(cached: Sequence[Measured]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, one in enumerate(cached):
        shares = _level_shares(one)
        levels = range(1, one["levels"] + 1)
        axes.errorbar(
            levels,
            [share.mean for share in shares],
            [share.half_width or 0 for share in shares],
            fmt="-o",
            markersize=4,
            capsize=3,
            color=f"C{i}",
            label=f"{_grid(one)} patches, {one['levels']} levels",
        )
        # Products are alike for every level; attention's share grows with it, and is small here.
        axes.plot(levels, [m / one["levels"] for m in levels], ":", color=f"C{i}")
    axes.axhline(1, color="black", linewidth=1, linestyle="--")
    axes.set(xlabel="level", ylabel="time, of all levels at once", ylim=(0, None))
    axes.legend(fontsize=8)
    return figure


def _sheet(context: Context, previews: Measured) -> Picture:
    pixels = torch.load(context.folder_of("previews") / "previews.pt", weights_only=True)
    sheet = column([row(list(level.float() / 255)) for level in pixels])
    classes = ", ".join(previews["labels"])
    return Picture(
        name="previews",
        pixels=sheet,
        caption=f"Previews from 1 level (top) to {previews['levels']}"
        + (f"; classes: {classes}." if classes else "."),
    )


def _notes(context: Context, found: Sequence[Measured]) -> tuple[str, ...]:
    first = found[0]["flops"]
    apart = abs(first["joint"] / first["joint, from matrices"] - 1)
    notes = [
        "FLOPs are counted operation by operation as the sampler runs; the sum over the sizes of "
        f"its matrices differs by {apart:.1e}."
    ]
    if context.device == "cpu":
        notes.append(
            "On a CPU the caches `device` and `cpu` are one memory, and times are those that the "
            "process has worked."
        )
    return tuple(notes)
