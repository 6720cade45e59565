"""What was measured of generators side by side, as a value, JSON and a Markdown table."""

from dataclasses import asdict, dataclass
from typing import Any

from dcs_eval.comparison.sampling_times import SamplingTimes
from dcs_eval.generation_report import GenerationReport
from dcs_eval.markdown import counted, table
from dcs_eval.mean_interval import MeanInterval, mean_interval
from dcs_eval.tokenizer_floor import FLOOR_NOTE, TokenizerFloor


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorComparison:
    """Reports of several generators against the same real pictures.

    Attributes:
        reports: by the names that tables give generators.
        times: how long sampling took, of as many seeds as say it, by the same names.
        floors: real pictures through tokenizers, where these were given.
    """

    reports: dict[str, GenerationReport]
    times: dict[str, tuple[SamplingTimes, ...]]
    floors: tuple[TokenizerFloor, ...] = ()

    @property
    def first(self) -> GenerationReport:
        """The report of the first generator: what it says of real pictures holds for all."""
        return next(iter(self.reports.values()))

    def seconds(self, name: str) -> MeanInterval | None:
        """Return the mean over seeds of the seconds for all samples; None where nothing says it."""
        return _over_seeds([times.seconds for times in self.times[name]])

    def first_preview(self, name: str) -> MeanInterval | None:
        """Return the mean over seeds of the seconds to the first preview of a batch."""
        return _over_seeds([times.first_preview_seconds for times in self.times[name]])

    def table(self) -> str:
        """Return a Markdown table: a row for each generator and level, real pictures below.

        Times are those of a generator's run, the same in all its rows.
        """
        with_probe = any(report.classes(report.levels[-1]) for report in self.reports.values())
        heads = ["generator", "level", f"Fréchet distance on {self.first.space}"]
        if with_probe:
            heads += ["recognised, %", "classes from 50 %"]
        heads += ["first preview, s", "in all, s"]
        rows = [
            [name, str(level), report.frechet(level).text(1)]
            + (_probe_cells(report, level) if with_probe else [])
            + [_text(self.first_preview(name)), _text(self.seconds(name))]
            for name, report in self.reports.items()
            for level in report.levels
        ]
        absent = ["–"] * (len(heads) - 3)
        rows += [
            [some.title, str(some.level), f"{some.frechet:.1f}", *absent] for some in self.floors
        ]
        real = self.first.real
        if real is not None:
            rows += [
                [f"{real.drawn} pictures of training", "–", f"{real.frechet_drawn:.1f}", *absent],
                ["all of training", "–", f"{real.frechet:.1f}", *absent],
            ]
        return table(heads, rows)

    def timing_notes(self) -> str | None:
        """Return what the times depend on, generator by generator; None without any."""
        settings = {
            name: "; ".join(dict.fromkeys(some.setting for some in times))
            for name, times in self.times.items()
            if times
        }
        if not settings:
            return None
        notes = [f"- {name}: {setting}" for name, setting in settings.items()]
        machines = {
            (some.device, some.threads, some.precision, some.batch_size)
            for times in self.times.values()
            for some in times
        }
        if len(machines) > 1:
            notes.append(
                "- **Times are not comparable**: devices, threads, precisions or batches differ. "
                "Sample again."
            )
        return "Sampling, without decoding and writing:\n\n" + "\n".join(notes)

    def markdown(self) -> str:
        """Return the table, with what was compared with what."""
        first = self.first
        seeds = ", ".join(f"{name} {report.seeds}" for name, report in self.reports.items())
        training = "" if first.train is None else f"; {counted(first.train)} of training"
        summary = (
            f"{counted(first.samples, 'sample')} at each level and seed, "
            f"against {counted(first.reference)} of the reference{training}. Seeds: {seeds}; ± is "
            "half the 95 % t interval over them."
        )
        # What the report of one generator says after its own first sentence holds for all.
        cautions = first.summary().split("\n")[1:]
        if self.floors:
            cautions.append(FLOOR_NOTE)
        parts = [summary, *cautions, self.table(), self.timing_notes()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def content(self) -> dict[str, Any]:
        """Return what the JSON file holds: the content of every report, and the times."""
        return {
            "generators": {
                name: {
                    **report.content(),
                    "times": [asdict(some) for some in self.times[name]],
                }
                for name, report in self.reports.items()
            },
            "floors": [some.content() for some in self.floors],
        }


def _over_seeds(values: list[float]) -> MeanInterval | None:
    return mean_interval(values) if values else None


def _text(seconds: MeanInterval | None) -> str:
    return "–" if seconds is None else seconds.text(2)


def _probe_cells(report: GenerationReport, level: int) -> list[str]:
    share, classes = report.probe_share(level), report.classes(level)
    if share is None or classes is None:
        return ["–", "–"]
    half = share.half_width
    percent = MeanInterval(mean=100 * share.mean, half_width=None if half is None else 100 * half)
    return [percent.text(1), f"{classes.reaching()} of {len(classes.counts)}"]
