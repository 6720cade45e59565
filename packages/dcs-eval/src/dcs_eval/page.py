"""The page of a rate-distortion record: one HTML file that needs nothing beside it."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from math import isfinite

from torch import Tensor

from dcs_eval.crops import Crop, CropRow
from dcs_eval.eight_bit import to_image
from dcs_eval.markdown import counted
from dcs_eval.metrics import METRICS, Metric
from dcs_eval.plot import Line, plot
from dcs_eval.rate_distortion_record import RateDistortion

_NUM_COLOURS = 8  # in the style sheet
_WHAT_IT_IS = {
    "psnr": "Peak signal-to-noise ratio of 8-bit R, G and B: every pixel counts alike.",
    "ssim": "Structural similarity: local contrast and pattern, at one scale.",
    "lpips": "Distance in the features of a network that was trained to see. Less is better.",
}


def page(
    record: RateDistortion,
    crops: Sequence[CropRow] = (),
    *,
    subjects: Iterable[str] = (),
    rates: Sequence[float] = (0.1, 0.15, 0.25, 0.5),
) -> str:
    """Return the page: a plot and two tables for each metric, crops at equal bytes, all figures.

    Args:
        record: what was measured.
        crops: rows of :func:`dcs_eval.crops.equal_bytes_crops`.
        subjects: names of the codecs that the page is about; the others are rivals.
        rates: bits per pixel of the table of qualities at equal rates.
    """
    styles = styles_of(record, subjects)
    sections = [_metric(record, METRICS[key], styles, rates) for key in record.metrics]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>Rate and distortion</title><style>\n{style_sheet()}</style></head><body><main>"
        "<h1>Rate and distortion</h1>"
        f'<p class="lead">{escape(_listed(list(record.titles.values())))} on '
        f"{counted(len(record.pictures))}, {_sizes(record)}. "
        "Rates are whole files, headers and all.</p>"
        f"{''.join(sections)}{_crops(record, crops, styles)}{_figures(record, styles)}"
        "</main></body></html>\n"
    )


def styles_of(record: RateDistortion, subjects: Iterable[str]) -> dict[str, str]:
    """Return the CSS classes of each codec; arguments as of :func:`page`."""
    chosen = set(subjects)
    return {
        name: f"c{index % _NUM_COLOURS}" + (" subject" if name in chosen else "")
        for index, name in enumerate(record.titles)
    }


def metric_lines(record: RateDistortion, metric: Metric, styles: dict[str, str]) -> list[Line]:
    """Return the lines of a metric's plot, for codecs with a finite point."""
    lines = [
        Line(
            name=title,
            style=styles[name],
            points=[
                (
                    point.bpp,
                    point.quality[metric.key].mean,
                    f"{title} at {point.setting:g}: {point.bpp:.3f} bits per pixel, "
                    f"{metric.title} {metric.text(point.quality[metric.key].mean)}",
                )
                for point in sorted(record.means(name), key=lambda point: point.bpp)
                if isfinite(point.quality[metric.key].mean)
            ],
        )
        for name, title in record.titles.items()
    ]
    return [line for line in lines if line.points]


def _metric(
    record: RateDistortion, metric: Metric, styles: dict[str, str], rates: Sequence[float]
) -> str:
    lines = metric_lines(record, metric, styles)
    plots = ""
    if lines:
        plots = plot(lines, title=metric.title, width=1040, height=520, style="wide")
        plots += plot(lines, title=metric.title, width=400, height=380, style="narrow")
    names = list(record.titles)
    differences = [[_bd_cell(record, a, test, metric.key) for a in names] for test in names]
    qualities = [[_cell(record.at_text(name, r, metric.key)) for r in rates] for name in names]
    return (
        f"<section><h2>{escape(metric.title)}</h2>"
        f'<p class="note">{_WHAT_IT_IS[metric.key]}</p>{plots}<div class="tables"><div>'
        "<h3>Bits of a row beyond a column, at equal quality</h3>"
        f"{_table(record, list(record.titles.values()), differences, styles)}</div>"
        "<div><h3>Quality at equal bits per pixel</h3>"
        f"{_table(record, [f'{rate:g}' for rate in rates], qualities, styles)}</div>"
        "</div></section>"
    )


def _bd_cell(record: RateDistortion, anchor: str, test: str, metric: str) -> str:
    text = record.bd_text(anchor, test, metric)
    kind = {"−": "less", "+": "more"}.get(text[:1], "")
    return _cell(text, kind)


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _table(
    record: RateDistortion, heads: Sequence[str], rows: list[list[str]], styles: dict[str, str]
) -> str:
    """Return a table with one row of cells for each codec."""
    head = "".join(f"<th>{escape(text)}</th>" for text in ("", *heads))
    body = "".join(
        f'<tr class="{styles[name]}"><th>{escape(title)}</th>{"".join(cells)}</tr>'
        for (name, title), cells in zip(record.titles.items(), rows, strict=True)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _crops(record: RateDistortion, rows: Sequence[CropRow], styles: dict[str, str]) -> str:
    if not rows:
        return ""
    parts = [
        "<section><h2>Side by side, at equal bytes</h2>"
        '<p class="note">Each codec has the measured setting that comes closest to the same bytes '
        "without exceeding them. Bytes and qualities are the whole picture's; the piece shown is "
        "its most detailed one. Point at a piece, or tap it, to see the original in its place.</p>"
    ]
    for row in rows:
        original = _data_uri(row.original)
        parts.append(
            f"<h3>{escape(row.picture)}, at most {row.target_bytes:,} bytes</h3>"
            f'<div class="crops" style="--original:url(\'{original}\')">'
            f'<figure><img src="{original}" alt="{escape(row.picture)}, the original"/>'
            "<figcaption><b>Original</b></figcaption></figure>"
        )
        parts += [
            _tile(record.titles[name], crop, styles[name]) for name, crop in row.crops.items()
        ]
        parts.append("</div>")
    return "".join([*parts, "</section>"])


def _tile(title: str, crop: Crop, style: str) -> str:
    point = crop.point
    numbers = [f"{point.num_bytes:,} bytes", f"{point.psnr:.2f} dB"]
    numbers += [
        f"{key.upper()} {METRICS[key].text(value)}"
        for key, value in (("ssim", point.ssim), ("lpips", point.lpips))
        if value is not None
    ]
    spans = " ".join(f"<span>{number}</span>" for number in numbers)
    over = "" if crop.fits else "<br/>over the limit: its smallest file"
    return (
        f'<figure class="{style}"><label><input type="checkbox" '
        f'aria-label="show the original in place of {escape(title)}"/>'
        f'<img src="{_data_uri(crop.pixels)}" alt="{escape(title)}"/></label>'
        f"<figcaption><b>{escape(title)}</b><br/>{spans}{over}</figcaption></figure>"
    )


def _figures(record: RateDistortion, styles: dict[str, str]) -> str:
    heads = ["bits per pixel", *(METRICS[key].title for key in record.metrics)]
    head = "".join(f"<th>{escape(text)}</th>" for text in ("codec", "setting", *heads))
    rows = "".join(
        f'<tr class="{styles[name]}"><th>{escape(title)}</th><td>{point.setting:g}</td>'
        f"<td>{point.bpp:.4f}</td>"
        + "".join(_cell(point.quality[key].text(METRICS[key].decimals)) for key in record.metrics)
        + "</tr>"
        for name, title in record.titles.items()
        for point in record.means(name)
    )
    made_by = "; ".join(
        f"{title}: {record.versions[name]}"
        for name, title in record.titles.items()
        if record.versions[name]
    )
    return (
        "<section><h2>Every figure</h2><details><summary>Means of all settings</summary>"
        '<p class="note">After ± stands half a 95 % t interval over the pictures: how far the mean '
        "of other such pictures may lie. Codecs compared on the same pictures differ more surely "
        "than that.</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        '</div></details></section><footer class="note"><p>Bits at equal quality are Bjøntegaard '
        "rate differences (VCEG-M33) of the curves of means, piecewise cubic over the range of "
        f"qualities that both curves share; – where there is none.</p><p>{escape(made_by)}</p>"
        "</footer>"
    )


def _sizes(record: RateDistortion) -> str:
    sizes = sorted({(p.width * p.height, p.width, p.height) for p in record.pictures})
    texts = [f"{width}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{height}" for _, width, height in sizes]
    return _listed(texts) if len(texts) < 4 else f"{texts[0]} to {texts[-1]}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _data_uri(pixels: Tensor) -> str:
    buffer = io.BytesIO()
    to_image(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def style_sheet() -> str:
    """Return the style sheet of pages and plots."""
    return files("dcs_eval").joinpath("page.css").read_text(encoding="utf-8")
