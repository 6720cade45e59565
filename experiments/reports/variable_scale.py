"""Tables, plots and verdicts of ``variable_scale.py``."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from dcs_eval.mean_interval import MeanInterval, mean_interval
from launching import Context
from records import Claim, Picture, Plot, Report, Table
from scaling.agreement import EXACT
from scaling.sheet import column, grid, row
from scaling.verdict_of_interval import signed, verdict_above

Rows = Sequence[Mapping[str, Any]]
_CLIP_FRAMES = 8
"""Of each frame rate on the sheet, at most."""


def report(context: Context) -> Report:
    """Compare with Figure 9."""
    sizes: Rows = context.result("decode-sizes")["rows"]
    rates: Rows = context.result("decode-rates")["rows"]
    shapes = context.result("generate-shapes")
    return Report(
        tables=(_size_table(sizes), _rate_table(rates), _shape_table(shapes)),
        claims=(_every_size(sizes, shapes), _every_rate(rates), _aspect(shapes["rows"])),
        plots=(
            Plot(
                name="agreement",
                figure=_figure(sizes, rates),
                caption="Means over samples: agreement of decodes at other scales with the decode "
                "at the source's, and the decode's own PSNR, which it should exceed. Where the "
                "frames that rates share are identical, their agreement is not drawn.",
            ),
        ),
        pictures=_pictures(context),
        notes=(
            "Agreement is the PSNR of two decodes of one latent after the larger is reduced to the "
            "smaller's size, or over the frames that both show; the paper has pictures alone. The "
            "criterion is ours: scales should differ less than the latent differs from its source.",
            "A decoder computes each pixel at its place, without the low-pass filter that reduces "
            "a photo; at sizes far below the source's that sets agreement and quality.",
            "The generator was trained on the square grid alone, so that the others are beyond "
            "what it was shown.",
        ),
    )


# ---------------------------------------------------------------------- claims


def over_own_error(rows: Rows, scale: str) -> dict[int, MeanInterval]:
    """Return by how many dB agreement exceeds the decode's own quality, at each other scale."""
    found: dict[int, list[float]] = {}
    for values in rows:
        if "agreement" in values:
            found.setdefault(values[scale], []).append(values["agreement"] - values["own"])
    return {one: mean_interval(differences) for one, differences in found.items()}


def gain_over(rows: Rows, scale: str, baseline: str) -> dict[int, MeanInterval]:
    """Return by how many dB a decode at a scale is nearer to the truth than a baseline."""
    found: dict[int, list[float]] = {}
    for values in rows:
        if "decoded" in values and "agreement" in values:
            found.setdefault(values[scale], []).append(values["decoded"] - values[baseline])
    return {one: mean_interval(differences) for one, differences in found.items()}


def _every_size(sizes: Rows, shapes: Mapping[str, Any]) -> Claim:
    above = over_own_error(sizes, "size")
    source = next(values["size"] for values in sizes if "agreement" not in values)
    larger = {size: one for size, one in above.items() if size > source}
    worst = min(larger, key=lambda size: larger[size].mean)
    gains = gain_over(sizes, "size", "resized")
    generated = ", ".join(
        f"{mean_interval(one['agreement']).text(1)} dB at {one['size'][1]}x{one['size'][0]}"
        for one in shapes["agreements"]
    )
    return Claim(
        key="every-size",
        statement="One latent decodes to every size with the same content: sizes differ less than "
        "the decode and its source",
        source="Fig. 9a",
        paper="pictures: 4 levels, 256 to 512 px",
        ours=f"agreement with {source} px less own error: {_at_scales(above, 'px')}; against "
        f"plain resizing of one decode: {_at_scales(gains, 'px')}; generated samples agree to "
        f"{generated}. Judged on the sizes above {source} px",
        verdict=verdict_above(larger[worst]),
    )


def _every_rate(rates: Rows) -> Claim:
    above = over_own_error(rates, "rate")
    worst = min(above, key=lambda rate: above[rate].mean)
    exact = all(values.get("agreement", EXACT) == EXACT for values in rates)
    agreement = (
        "the frames that rates share are identical (0 difference)"
        if exact
        else f"agreement less own error: {_at_scales(above, 'fps')}"
    )
    faster = max(above)
    repeated = gain_over(rates, "rate", "repeated")[faster]
    blended = gain_over(rates, "rate", "blended")[faster]
    return Claim(
        key="every-rate",
        statement="One latent decodes to every frame rate with the same content: rates differ less "
        "than the decode and its source",
        source="Fig. 9b",
        paper="clips: 1 level, 12, 24 and 48 fps",
        ours=f"{agreement}; at {faster} fps {signed(repeated)} dB against repeated frames, "
        f"{signed(blended)} dB against blended ones",
        verdict=verdict_above(above[worst]),
    )


def _at_scales(found: Mapping[int, MeanInterval], unit: str) -> str:
    return ", ".join(f"{signed(one, 1)} dB at {scale} {unit}" for scale, one in found.items())


def _aspect(rows: Rows) -> Claim:
    right = [one["size"][0] * one["grid"][1] == one["size"][1] * one["grid"][0] for one in rows]
    ratios = detail_ratios(rows)
    halves = [max(one["halves"]) for one in rows[1:]]
    sound = all(0.5 < ratio.mean < 2 for ratio in ratios) and max(halves) < 30
    said = "; ".join(
        f"{one['grid'][0]} x {one['grid'][1]} patches give {one['size'][1]}x{one['size'][0]} px"
        + ("" if ratio is None else f", detail {ratio.text(2)} times the square's")
        for one, ratio in zip(rows, (None, *ratios), strict=True)
    )
    return Claim.answering(
        "aspect-ratio",
        ours=f"{said}; the halves of a sample differ (at most {max(halves):.1f} dB alike)",
        verdict="reproduced in sign" if all(right) and sound else "not reproduced",
    )


def detail_ratios(rows: Rows) -> list[MeanInterval]:
    """Return the detail of every other shape over the first's, sample by sample."""
    first = rows[0]["detail"]
    return [
        mean_interval(a / b for a, b in zip(one["detail"], first, strict=True)) for one in rows[1:]
    ]


# ---------------------------------------------------------------------- tables


def _by_scale(rows: Rows, scale: str, key: str) -> dict[int, MeanInterval]:
    found: dict[int, list[float]] = {}
    for values in rows:
        if key in values:
            found.setdefault(values[scale], []).append(values[key])
    return {one: mean_interval(values) for one, values in found.items()}


def _scale_table(
    rows: Rows, scale: str, unit: str, title: str, baselines: Mapping[str, str], note: str
) -> Table:
    keys = ("agreement", "decoded", *baselines)
    found = {key: _by_scale(rows, scale, key) for key in keys}
    names = sorted({values[scale] for values in rows})
    own = mean_interval([values["own"] for values in rows if values[scale] == names[0]])
    table = tuple(
        (
            f"{one} {unit}",
            *(_cell(found[key].get(one)) for key in keys),
        )
        for one in names
    )
    return Table(
        title=title,
        columns=(scale, "agreement", "decode against truth", *baselines.values()),
        rows=table,
        note=f"{note} The decode's own PSNR is {own.text(2)} dB. ± is half the 95 % t interval "
        "over samples.",
    )


def _cell(interval: MeanInterval | None) -> str:
    if interval is None:
        return "–"
    return "identical" if interval.mean == EXACT else interval.text(2)


def _size_table(rows: Rows) -> Table:
    return _scale_table(
        rows,
        "size",
        "px",
        "One latent at several sizes, dB",
        {"resized": "one decode, resized"},
        "Encoded once at 256 px, 4 levels. Truth is the photo at that size; photos smaller than "
        "512 px are left out there.",
    )


def _rate_table(rows: Rows) -> Table:
    return _scale_table(
        rows,
        "rate",
        "fps",
        "One latent at several frame rates, dB",
        {"repeated": "one decode, frames repeated", "blended": "frames blended"},
        "Encoded once at 24 fps, 1 level: windows that glide over photos.",
    )


def _shape_table(shapes: Mapping[str, Any]) -> Table:
    rows = shapes["rows"]
    ratios = [None, *detail_ratios(rows)]
    return Table(
        title="Samples on grids of several shapes",
        columns=("grid", "decoded to", "detail, of the square's", "halves alike, dB"),
        rows=tuple(
            (
                f"{one['grid'][0]} x {one['grid'][1]}",
                f"{one['size'][1]}x{one['size'][0]} px",
                "1" if ratio is None else ratio.text(2),
                f"{fmean(one['halves']):.1f}",
            )
            for one, ratio in zip(rows, ratios, strict=True)
        ),
        note=f"{len(rows[0]['detail'])} samples a grid, one of each class. Detail is the mean "
        "squared step between neighbouring pixels: far from 1, a shape would be empty or broken.",
    )


# ---------------------------------------------------------------------- plots and pictures


def _figure(sizes: Rows, rates: Rows) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    sides = ((left, sizes, "size", "size, px"), (right, rates, "rate", "frames per second"))
    for axes, rows, scale, label in sides:
        kinds = {"agreement": "agreement", "decoded": "decode against truth"}
        kinds |= {"resized": "resized against truth", "repeated": "repeated frames"}
        kinds |= {"blended": "blended frames"}
        for i, (key, name) in enumerate(kinds.items()):
            found = _by_scale(rows, scale, key)
            if not found or min(one.mean for one in found.values()) == EXACT:
                continue
            means = [one.mean for one in found.values()]
            axes.plot(list(found), means, "-o", markersize=4, color=f"C{i}", label=name)
        own = mean_interval([values["own"] for values in rows]).mean
        axes.axhline(own, color="black", linestyle="--", linewidth=1, label="the decode's own")
        axes.set(xlabel=label, ylabel="dB", xscale="log")
        ticks = sorted({values[scale] for values in rows})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.legend(fontsize=7)
    return figure


def _pictures(context: Context) -> tuple[Picture, ...]:
    sizes = _load(context, "decode-sizes", "sizes.pt")
    rates = _load(context, "decode-rates", "rates.pt")
    shapes = _load(context, "generate-shapes", "shapes.pt")
    generated = _load(context, "generate-shapes", "generated-sizes.pt")
    square, wide, tall = (list(one[:8]) for one in shapes)
    return (
        Picture(
            name="sizes",
            pixels=row(sizes),
            caption="One latent of 4 levels at "
            + ", ".join(f"{one.shape[-1]}" for one in sizes)
            + " px.",
        ),
        Picture(
            name="rates",
            pixels=column([row(_last_frames(one)) for one in rates]),
            caption="One latent of 1 level at 12, 24 and 48 fps: the last frames of each, which "
            "end at the same moment.",
        ),
        Picture(
            name="generated-sizes",
            pixels=row(generated),
            caption="A generated latent at 1, 1.5 and 2 times the trained size.",
        ),
        Picture(
            name="shapes",
            pixels=column([row(square), grid(wide, 4), row(tall)]),
            caption="Samples of the same classes on a square, a wide and a tall grid.",
        ),
    )


def _last_frames(clip: Tensor) -> list[Tensor]:
    return list(clip[:, -_CLIP_FRAMES:].unbind(1))


def _load(context: Context, stage: str, name: str) -> list[Tensor]:
    found = torch.load(context.folder_of(stage) / name, weights_only=True)
    return [one.float() / 255 for one in found]
