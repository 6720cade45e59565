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
    """One picture at one level count and one scale.

    At scale 1 the metrics (PSNR in dB; SSIM and LPIPS where asked for) compare with the source;
    elsewhere the larger of this decode and the one at scale 1 is resampled to the size of the
    smaller and compared ("scale consistency").
    """

    picture: str
    levels: int
    scale: float
    psnr: float
    ssim: float | None = None
    lpips: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconstructionReport:
    """Every measurement of one evaluation, in the order it was made."""

    rows: tuple[Reconstruction, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The keys of the metrics that were measured."""
        return tuple(key for key in METRICS if getattr(self.rows[0], key) is not None)

    def per_picture(
        self, levels: int, scale: float = 1.0, metric: str = "psnr"
    ) -> dict[str, float]:
        """Return a metric of each picture: ``psnr`` in dB, ``ssim`` or ``lpips``.

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
            if row.levels == levels and row.scale == scale
        }
        if not found:
            pairs = sorted({(row.levels, row.scale) for row in self.rows})
            raise ValueError(
                f"`levels` and `scale` must be a pair that was evaluated, but are "
                f"{levels} and {scale:g}. Evaluated: {pairs}."
            )
        return found

    def mean(self, levels: int, scale: float = 1.0, metric: str = "psnr") -> float:
        """Return the mean over pictures of a metric."""
        return self.interval(levels, scale, metric).mean

    def interval(self, levels: int, scale: float = 1.0, metric: str = "psnr") -> MeanInterval:
        """Return the mean over pictures of a metric, with its 95 % t interval."""
        return mean_interval(self.per_picture(levels, scale, metric).values())

    def table(self, *, pictures: bool = False) -> str:
        """Return a Markdown table: a row per level count, columns for scales and metrics.

        Means come with 95 % t intervals where there are several pictures.

        Args:
            pictures: put the rows of every single picture below the means.
        """
        scales = list(dict.fromkeys(row.scale for row in self.rows))
        counts = list(dict.fromkeys(row.levels for row in self.rows))
        columns = [(scale, key) for scale in scales for key in self.metrics]
        rows = [
            ["mean", str(count)]
            + [self.interval(count, s, key).text(METRICS[key].decimals) for s, key in columns]
            for count in counts
        ]
        if pictures:
            values = {
                (count, *column): self.per_picture(count, *column)
                for count in counts
                for column in columns
            }
            rows += [
                [name, str(count)]
                + [METRICS[key].text(values[count, s, key][name]) for s, key in columns]
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


def _title(scale: float, key: str) -> str:
    title = METRICS[key].title
    if scale == 1:
        return title
    # PSNR alone had this column once, and its name stays.
    name, comma, unit = title.partition(",")
    return f"agreement at {scale:g}x{comma}{unit}" if key == "psnr" else f"{name} at {scale:g}x"
