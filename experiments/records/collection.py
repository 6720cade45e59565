"""The committed records: reads them, adds runs, and says what every built file should hold."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from records.markdown import results_text
from records.page import page
from records.record import PLOTS_FOLDER, RECORD_FILE, Record, load_record
from records.verdicts import judge

#: Between these lines of the results page stands what records make.
START, END = "<!-- experiments -->", "<!-- end of experiments -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A record with the bytes of its file and of the files that it names."""

    record: Record
    content: bytes
    figures: Mapping[str, bytes]


def read_run(folder: Path, *, with_figures: bool = True) -> Evidence:
    """Read what a run folder holds.

    Args:
        folder: of the run.
        with_figures: False leaves out plots and pictures, which may show data that is not to be
            published.

    Raises:
        ValueError: if it has no record, or lacks a plot that the record names.
    """
    if with_figures:
        return _read(folder / RECORD_FILE, folder / PLOTS_FOLDER)
    record = replace(load_record(folder / RECORD_FILE), figures=())
    return Evidence(record=record, content=record.to_bytes(), figures={})


def read_collected(folder: Path) -> dict[str, Evidence]:
    """Read every record `NAME.json` of a folder and the plots in `NAME/`, by name.

    Raises:
        ValueError: if the folder does not exist, a record is damaged, misnamed, or lacks a plot.
    """
    if not folder.is_dir():
        raise ValueError(
            f"`--records` must name a folder, but {folder} does not exist. Make it, or leave "
            "`--records` out."
        )
    found = {}
    for path in sorted(folder.glob("*.json")):
        evidence = _read(path, folder / path.stem)
        if evidence.record.name != path.stem:
            raise ValueError(
                f"A record must be named after its experiment, but {path} is of "
                f"{evidence.record.name}. Rename it to {evidence.record.name}.json."
            )
        found[path.stem] = evidence
    return found


def built_files(
    collected: Mapping[str, Evidence], folder: Path, results: Path
) -> dict[Path, bytes]:
    """Return every file that follows from the records, with its content.

    Args:
        collected: by name.
        folder: of the records, plots and page.
        results: the results page; what stands outside its two markers stays as it is.

    Raises:
        ValueError: if the results page is missing or lacks a marker.
    """
    judged = judge([evidence.record for evidence in collected.values()])
    files = {}
    for name, evidence in sorted(collected.items()):
        files[folder / f"{name}.json"] = evidence.content
        for figure, data in evidence.figures.items():
            files[folder / name / figure] = data
    figures = {name: evidence.figures for name, evidence in collected.items()}
    files[folder / "index.html"] = page(judged, figures).encode()
    where = PurePosixPath(Path(os.path.relpath(folder, results.parent)).as_posix())
    files[results] = _with_part(results, results_text(judged, records_at=str(where))).encode()
    return files


def stale_files(files: Mapping[Path, bytes], folder: Path) -> list[Path]:
    """Return the plots in the folder that no record names any more."""
    return sorted(path for path in folder.glob("*/*") if path.is_file() and path not in files)


def _with_part(results: Path, part: str) -> str:
    text = results.read_text(encoding="utf-8") if results.is_file() else ""
    before, start, rest = text.partition(f"{START}\n")
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(
            f"{results} must hold the lines {START} and {END}, one below the other, but does not. "
            "Put them where the experiments should stand."
        )
    return f"{before}{START}\n\n{part}\n{END}{after}"


def _read(path: Path, figures_at: Path) -> Evidence:
    record = load_record(path)
    figures = {}
    for figure in record.figures:
        file = figures_at / PurePosixPath(figure.file).name
        if not file.is_file():
            raise ValueError(
                f"Every plot of a record must lie beside it, but {file} does not exist. Run the "
                "experiment's last stage again."
            )
        figures[file.name] = file.read_bytes()
    return Evidence(record=record, content=path.read_bytes(), figures=figures)
