"""What was measured of a tokenizer, as a value, a JSON file and a Markdown table."""

import json
from dataclasses import asdict, dataclass
from math import isfinite
from os import PathLike

from dcs_common.atomic_file import write_atomically
from dcs_eval.markdown import table
from dcs_eval.mean_interval import MeanInterval, mean_interval
from dcs_eval.metrics import METRICS

#: The version of the JSON file.
RECONSTRUCTION_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """One picture or clip at one level count, one scale and one frame rate.

    At scale 1 and the source's rate the metrics (PSNR in dB; SSIM and LPIPS where asked for)
    compare with the source; elsewhere the larger of this decode and the one at scale 1 is
    resampled to the size of the smaller and compared ("scale consistency"), and so is the one
    with more frames per second.

    Attributes:
        picture: its name.
        levels: how many were decoded.
        scale: on height and width.
        psnr: in dB.
        ssim: None where it was not asked for.
        lpips: None where it was not asked for.
        fps: the rate of this decode; None for the source's own, and for pictures.
    """

    picture: str
    levels: int
    scale: float
    psnr: float
    ssim: float | None = None
    lpips: float | None = None
    fps: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconstructionReport:
    """Every measurement of one evaluation, in the order it was made."""

    rows: tuple[Reconstruction, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The keys of the metrics that were measured."""
        return tuple(key for key in METRICS if getattr(self.rows[0], key) is not None)

    def per_picture(
        self,
        levels: int,
        scale: float = 1.0,
        metric: str = "psnr",
        fps: float | None = None,
    ) -> dict[str, float]:
        """Return a metric of each picture: ``psnr`` in dB, ``ssim`` or ``lpips``.

        Args:
            levels: how many were decoded.
            scale: on height and width.
            metric: its key.
            fps: another rate that clips were decoded at; None for their own, and for pictures.

        Raises:
            ValueError: if this pair, or the metric, was not evaluated.
        """
        if metric not in self.metrics:
            raise ValueError(
                f"`metric` must be one of {', '.join(self.metrics)}, which were measured, but is "
                f"{metric!r}. Pass it to the evaluation."
            )
        found = {
            row.picture: getattr(row, metric)
            for row in self.rows
            if (row.levels, row.scale, row.fps) == (levels, scale, fps)
        }
        if found:
            return found
        if fps is not None:
            rates = sorted({row.fps for row in self.rows if row.fps is not None})
            raise ValueError(
                f"`fps` must be a rate other than the source's that was evaluated at these levels "
                f"and scale 1, but is {fps:g} at {levels} and {scale:g}. Evaluated: {rates}."
            )
        pairs = sorted({(row.levels, row.scale) for row in self.rows if row.fps is None})
        raise ValueError(
            f"`levels` and `scale` must be a pair that was evaluated, but are "
            f"{levels} and {scale:g}. Evaluated: {pairs}."
        )

    def mean(
        self,
        levels: int,
        scale: float = 1.0,
        metric: str = "psnr",
        fps: float | None = None,
    ) -> float:
        """Return the mean over pictures of a metric."""
        return self.interval(levels, scale, metric, fps).mean

    def interval(
        self,
        levels: int,
        scale: float = 1.0,
        metric: str = "psnr",
        fps: float | None = None,
    ) -> MeanInterval:
        """Return the mean over pictures of a metric, with its 95 % t interval."""
        return mean_interval(self.per_picture(levels, scale, metric, fps).values())

    def table(self, *, pictures: bool = False) -> str:
        """Return a Markdown table: a row per level count, columns for scales, rates and metrics.

        Means come with 95 % t intervals where there are several pictures.

        Args:
            pictures: put the rows of every single picture below the means.
        """
        scales = list(dict.fromkeys((row.scale, row.fps) for row in self.rows))
        counts = list(dict.fromkeys(row.levels for row in self.rows))
        columns = [(scale, key, fps) for scale, fps in scales for key in self.metrics]
        rows = [
            ["mean", str(count)]
            + [self.interval(count, *c).text(METRICS[c[1]].decimals) for c in columns]
            for count in counts
        ]
        if pictures:
            values = {
                (count, *column): self.per_picture(count, *column)
                for count in counts
                for column in columns
            }
            rows += [
                [name, str(count)] + [METRICS[c[1]].text(values[count, *c][name]) for c in columns]
                for name in dict.fromkeys(row.picture for row in self.rows)
                for count in counts
            ]
        return table(["picture", "levels", *(_title(*column) for column in columns)], rows)

    def save(self, path: str | PathLike[str]) -> None:
        """Write every row as JSON; the file appears when it is whole.

        Raises:
            ValueError: if its folder does not exist.
        """
        rows = [asdict(row) for row in self.rows]
        for row in rows:  # JSON knows no infinity
            row["psnr"] = row["psnr"] if isfinite(row["psnr"]) else None
        content = {"format": RECONSTRUCTION_FORMAT, "rows": rows}
        write_atomically(path, json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def _title(scale: float, key: str, fps: float | None) -> str:
    title = METRICS[key].title
    if scale == 1 and fps is None:
        return title
    where = f"{scale:g}x" if fps is None else f"{fps:g} fps"
    # PSNR alone had this column once, and its name stays.
    name, comma, unit = title.partition(",")
    return f"agreement at {where}{comma}{unit}" if key == "psnr" else f"{name} at {where}"
