"""A plot of a rate-distortion record as an SVG file of its own, for a paper or a README."""

from collections.abc import Iterable
from html import escape

from dcs_eval.metrics import METRICS
from dcs_eval.page import metric_lines, style_sheet, styles_of
from dcs_eval.plot import plot
from dcs_eval.rate_distortion_record import RateDistortion

_WIDTH, _HEIGHT = 1040, 520


def plot_file(record: RateDistortion, metric: str, *, subjects: Iterable[str] = ()) -> str | None:
    """Return the plot of a metric, or None where no codec has a finite point.

    Args:
        record: what was measured.
        metric: its key, one of those that were measured.
        subjects: names of the codecs that the plot is about.
    """
    measured = METRICS[metric]
    lines = metric_lines(record, measured, styles_of(record, subjects))
    if not lines:
        return None
    drawn = plot(lines, title=measured.title, width=_WIDTH, height=_HEIGHT)
    start = drawn.index(">") + 1
    return (
        drawn[:start].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        + f"<style>svg {{ background: var(--paper); font-family: system-ui, sans-serif; }}\n"
        f'{style_sheet()}</style><text x="60" y="10">{escape(measured.title)}</text>'
        f"{drawn[start:]}\n"
    )
