"""Writes a finished run's record, its report and its plots into the run folder."""

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from dcs_common.atomic_file import write_atomically
from records.data_summary import DataSummary, summarise_data
from records.drawing import picture_file, plot_svg
from records.markdown import report_text
from records.provenance import commit, is_dirty, this_machine, versions
from records.record import PLOTS_FOLDER, RECORD_FILE, FigureFile, Record, StageRecord
from records.report import Picture, Plot, Report
from records.without_paths import WithoutPaths

#: Options that name files and folders, and what a summary calls them.
_PATHS = {
    "data": "data",
    "held_out": "held-out",
    "labels": "labels",
    "feature_weights": "feature-weights",
    "lpips_trunk": "lpips-trunk",
    "lpips_heads": "lpips-heads",
}


def write(
    run_folder: Path,
    experiment: Mapping[str, Any],
    options: Any,
    stages: Sequence[Mapping[str, Any]],
    report: Report,
) -> Record:
    """Write `record.json`, `report.md` and `plots/` into a run folder; return the record.

    The record comes last and is whole or not there: a folder with one has all it names.

    Args:
        run_folder: of the run; it exists.
        experiment: its "name", "title" and "paper", and "seeds", the default of each preset.
        options: `launching.Options`, with every number resolved.
        stages: those that finished, in the experiment's order: "stage" (its name), "arguments",
            "seconds", and "machine", of :func:`records.this_machine`, where it was kept.
        report: what the experiment found.

    Raises:
        ValueError: if the folder does not exist.
    """
    given = {name: _listed(getattr(options, name)) for name in _PATHS}
    places = [run_folder, *(Path(path) for paths in given.values() for path in paths)]
    clean = WithoutPaths([*places, Path.cwd(), Path.home()])
    figures = {f"{plot.name}.svg": plot_svg(plot) for plot in report.plots}
    figures |= dict(picture_file(picture) for picture in report.pictures)
    shown: list[Plot | Picture] = [*report.plots, *report.pictures]
    captions = [clean.text(figure.caption) for figure in shown]
    found = versions()
    record = Record(
        experiment=experiment["name"],
        title=experiment["title"],
        paper=" ".join(experiment["paper"].split()),
        preset=options.preset,
        command=_command(experiment, options, given),
        options=clean.value(_names_only(asdict(options), given)),
        data=_summaries(given),
        stages=tuple(_stage(stage, clean) for stage in stages),
        commit=commit(),
        dirty=is_dirty(),
        packages=found["packages"],
        libraries=found["libraries"],
        python=platform.python_version(),
        machine=this_machine(),
        tables=tuple(_clean(table, clean) for table in report.tables),
        claims=tuple(_clean(claim, clean) for claim in report.claims),
        figures=tuple(
            FigureFile(file=file, caption=caption)
            for file, caption in zip(figures, captions, strict=True)
        ),
        notes=tuple(clean.text(note) for note in report.notes),
    )
    content = record.to_bytes()  # fails, if it must, before anything is written
    folder = run_folder / PLOTS_FOLDER
    folder.mkdir(exist_ok=True)
    for file, data in figures.items():
        write_atomically(folder / file, data)
    text = report_text(record, figures_at=PLOTS_FOLDER)
    write_atomically(run_folder / "report.md", text.encode())
    write_atomically(run_folder / RECORD_FILE, content)
    for left in folder.iterdir():  # of an earlier report
        if left.name not in figures:
            left.unlink()
    return record


def _command(
    experiment: Mapping[str, Any], options: Any, given: Mapping[str, tuple[str, ...]]
) -> str:
    words = ["python", f"experiments/{experiment['name']}.py"]
    if options.preset != "tiny":
        words += ["--preset", options.preset]
    for name, use in _PATHS.items():
        if given[name]:
            words += [f"--{use}", *(Path(path).resolve().name for path in given[name])]
    if options.seeds != experiment.get("seeds", {}).get(options.preset, 1):
        words += ["--seeds", str(options.seeds)]
    if options.device != "cpu":
        words += ["--device", options.device]
    return shlex.join(words)


def _summaries(given: Mapping[str, tuple[str, ...]]) -> tuple[DataSummary, ...]:
    return tuple(summarise_data(use, path) for name, use in _PATHS.items() for path in given[name])


def _names_only(options: dict[str, Any], given: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    for name, paths in given.items():
        names = [Path(path).resolve().name for path in paths]
        is_one = not isinstance(options[name], list | tuple)
        options[name] = (names[0] if names else None) if is_one else names
    return options


def _stage(stage: Mapping[str, Any], clean: WithoutPaths) -> StageRecord:
    seconds = stage.get("seconds")
    return StageRecord(
        name=stage["stage"],
        arguments=clean.value(dict(stage["arguments"])),
        seconds=None if seconds is None else round(seconds, 1),
        machine=stage.get("machine"),
    )


def _clean(part: Any, clean: WithoutPaths) -> Any:
    """Return a table or claim whose texts hold no paths."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(cleaned(item) for item in value)
        return clean.text(value) if isinstance(value, str) else value

    names = [field.name for field in fields(part)]
    return replace(part, **{name: cleaned(getattr(part, name)) for name in names})


def _listed(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
