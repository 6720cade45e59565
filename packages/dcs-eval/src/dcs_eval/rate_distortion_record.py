"""What was measured of codecs, as a value, a JSON file and Markdown tables."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from os import PathLike
from pathlib import Path
from statistics import fmean

from dcs_common.atomic_file import write_atomically
from dcs_eval.curve import Curve, bd_rate
from dcs_eval.markdown import counted, table
from dcs_eval.mean_interval import MeanInterval, mean_interval
from dcs_eval.metrics import METRICS

#: The version of the JSON file. Readers refuse others.
RATE_DISTORTION_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredPicture:
    """A picture by its name, its size in pixels, and the SHA-256 of its 8-bit RGB rows."""

    name: str
    width: int
    height: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RatePoint:
    """One picture through one codec at one setting.

    Attributes:
        codec, setting, picture: which.
        num_bytes: of the whole file.
        bpp: bits per pixel of the source.
        psnr: dB; infinite where the picture came back unchanged.
        ssim, lpips: None where not measured.
    """

    codec: str
    setting: float
    picture: str
    num_bytes: int
    bpp: float
    psnr: float
    ssim: float | None = None
    lpips: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanPoint:
    """One codec at one setting: means over the pictures."""

    setting: float
    bpp: float
    quality: dict[str, MeanInterval]


@dataclass(frozen=True, kw_only=True, slots=True)
class RateDistortion:
    """Every measurement of a run, in the order it was made.

    Attributes:
        titles: what plots call each codec, in the order of plots.
        versions: what decided each codec's bytes; empty where it did not say.
        pictures: what was measured on.
        points: one for each codec, picture and setting.
    """

    titles: dict[str, str]
    versions: dict[str, str]
    pictures: tuple[MeasuredPicture, ...]
    points: tuple[RatePoint, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The keys of the metrics that were measured."""
        return tuple(key for key in METRICS if getattr(self.points[0], key) is not None)

    def means(self, codec: str) -> list[MeanPoint]:
        """Return a codec's means over pictures at every setting, in the order of settings.

        Raises:
            ValueError: if the codec was not measured.
        """
        if codec not in self.titles:
            raise ValueError(
                f"`codec` must be one of {', '.join(self.titles)}, which were measured, but is "
                f"{codec!r}. Measure it too."
            )
        settings: dict[float, list[RatePoint]] = {}
        for point in self.points:
            if point.codec == codec:
                settings.setdefault(point.setting, []).append(point)
        return [
            MeanPoint(
                setting=setting,
                bpp=fmean(point.bpp for point in points),
                quality={
                    key: mean_interval(getattr(point, key) for point in points)
                    for key in self.metrics
                },
            )
            for setting, points in settings.items()
        ]

    def curve(self, codec: str, metric: str = "psnr") -> Curve:
        """Return a codec's curve of means; where less is better, qualities are negated.

        A setting at which a picture came back unchanged has no finite mean and is left out.
        """
        means = [(point.bpp, point.quality[metric].mean) for point in self.means(codec)]
        sign = METRICS[metric].sign
        return Curve.through(
            self.titles[codec], [(bpp, sign * value) for bpp, value in means if isfinite(value)]
        )

    def psnr_at(self, codec: str, bpp: float) -> float:
        """Return the mean PSNR in dB at a mean rate, between settings by :class:`Curve`.

        Raises:
            ValueError: if the codec was not measured there.
        """
        return self.curve(codec).quality_at(bpp)

    def bd_rate(self, anchor: str, test: str, metric: str = "psnr") -> float:
        """Return :func:`dcs_eval.curve.bd_rate` of the mean curves: negative is fewer bits.

        Raises:
            ValueError: if a codec was not measured, or the curves share no quality.
        """
        return bd_rate(self.curve(anchor, metric), self.curve(test, metric))

    def markdown(self, rates: Sequence[float] = (0.1, 0.15, 0.25, 0.5)) -> str:
        """Return tables: BD-rates, quality at equal rates, and every mean with its interval."""
        parts = [f"Means over {counted(len(self.pictures))}."]
        titles = list(self.titles.values())
        for key in self.metrics:
            metric = METRICS[key]
            parts.append(f"BD-rate in {metric.title}: bits that the row needs beyond the column")
            rows = [
                [self.titles[test], *(self.bd_text(anchor, test, key) for anchor in self.titles)]
                for test in self.titles
            ]
            parts.append(table(["codec", *titles], rows))
            parts.append(f"{metric.title} at equal bits per pixel")
            rows = [
                [self.titles[codec], *(self.at_text(codec, bpp, key) for bpp in rates)]
                for codec in self.titles
            ]
            parts.append(table(["codec", *(f"{bpp:g}" for bpp in rates)], rows))
        parts.append("Every setting, with 95 % t intervals over the pictures")
        rows = [
            [
                self.titles[codec],
                f"{point.setting:g}",
                f"{point.bpp:.4f}",
                *(point.quality[key].text(METRICS[key].decimals) for key in self.metrics),
            ]
            for codec in self.titles
            for point in self.means(codec)
        ]
        heads = ["codec", "setting", "bits per pixel", *(METRICS[k].title for k in self.metrics)]
        parts.append(table(heads, rows))
        return "\n\n".join(parts) + "\n"

    def bd_text(self, anchor: str, test: str, metric: str) -> str:
        """Return a BD-rate for a table, a dash where there is none."""
        if anchor == test:
            return ""
        try:
            return f"{100 * self.bd_rate(anchor, test, metric):+.1f} %".replace("-", "−")
        except ValueError:
            return "–"

    def at_text(self, codec: str, bpp: float, metric: str) -> str:
        """Return a quality at a rate for a table, a dash where it was not measured."""
        try:
            value = METRICS[metric].sign * self.curve(codec, metric).quality_at(bpp)
        except ValueError:
            return "–"
        return METRICS[metric].text(value)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the record as JSON; the file appears when it is whole.

        Raises:
            ValueError: if its folder does not exist.
        """
        content = {"format": RATE_DISTORTION_FORMAT, **asdict(self)}
        for point in content["points"]:  # JSON knows no infinity
            point["psnr"] = point["psnr"] if isfinite(point["psnr"]) else None
        text = json.dumps(content, indent=1, allow_nan=False)
        write_atomically(path, text.encode() + b"\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "RateDistortion":
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: if the file is missing, damaged or of another format.
        """
        if not Path(path).is_file():
            raise ValueError(f"A record must exist, but {path} does not. Check the path.")
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            written = content.pop("format")
            if written == RATE_DISTORTION_FORMAT:
                pictures = tuple(MeasuredPicture(**about) for about in content.pop("pictures"))
                points = tuple(_read_point(**point) for point in content.pop("points"))
                return cls(**content, pictures=pictures, points=points)
        except Exception as error:  # damage shows as nearly any exception
            raise ValueError(
                f"A record must be a whole file of rate-distortion figures, but {path} is not "
                f"({type(error).__name__}). Measure again."
            ) from None
        raise ValueError(
            f"A record must have format {RATE_DISTORTION_FORMAT}, but {path} has {written!r}. "
            "Measure again, or use the release of dcs-eval that wrote it."
        )


def _read_point(**fields: object) -> RatePoint:
    psnr = inf if fields["psnr"] is None else fields["psnr"]
    return RatePoint(**{**fields, "psnr": psnr})  # type: ignore[arg-type]
