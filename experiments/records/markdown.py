"""A run's report, and the part of the results page that all records make."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from records.cells import NOT_RUN, cell_text, counted, duration, number_columns, size
from records.record import Record
from records.report import VERDICTS, Claim, Table
from records.verdicts import Judged, counts

_TAG = re.compile("<(?=[!/?a-zA-Z])")


def report_text(record: Record, *, figures_at: str) -> str:
    """Return a run's report.

    Args:
        record: of the run.
        figures_at: the folder of its plots, relative to the report.
    """
    parts = [f"# {_line(record.title)}", f"*The paper:* {_line(record.paper)}"]
    if record.claims:
        rows = [_claim_cells(claim) for claim in record.claims]
        parts += ["## Claims", _table(["claim", "source", "paper", "ours", "verdict"], rows)]
    if record.figures:
        parts.append("## Plots")
        for figure in record.figures:
            caption = _line(figure.caption)
            parts += [f"![{caption}]({figures_at}/{figure.file})", *([caption] if caption else [])]
    if record.tables:
        parts += ["## Tables", *_tables(record.tables)]
    if record.notes:
        parts += ["## Notes", "\n".join(f"- {_line(note)}" for note in record.notes)]
    parts += ["## How it was run", run_text(record)]
    if record.stages:
        rows = [[stage.name, duration(stage.seconds)] for stage in record.stages]
        parts.append(_table(["stage", "time"], rows))
    return "\n\n".join(parts) + "\n"


def results_text(judged: Sequence[Judged], *, records_at: str) -> str:
    """Return the verdicts of all claims and the tables of all records.

    Args:
        judged: all experiments.
        records_at: the folder of records, relative to the results page.
    """
    rows, repeats = [], []
    for part in judged:
        where = f"[{part.name}](#{part.name})" if part.record else part.name
        for claim in part.claims:
            cells = _claim_cells(claim)
            if part.is_repeat:
                repeats.append([cells[0], *cells[3:], where])
            else:
                rows.append([*cells, where])
    numbers = counts(judged)
    said = ", ".join(f"{numbers[verdict]} {verdict}" for verdict in VERDICTS if numbers[verdict])
    parts = [
        f"{counted(sum(numbers.values()), 'claim')}: {said}. The same with all plots, as one page "
        f"to open in a browser: [index.html]({PurePosixPath(records_at, 'index.html')}).",
        _table(["claim", "source", "paper", "ours", "verdict", "experiment"], rows),
    ]
    if repeats:
        parts += [
            "Again, on other data:",
            _table(["claim", "ours", "verdict", "experiment"], repeats),
        ]
    parts += [_section(part, part.record, records_at) for part in judged if part.record]
    left = [part for part in judged if not part.record]
    if left:
        lines = [f"- `python experiments/{part.name}.py`: {_line(part.title)}" for part in left]
        parts += ["### Experiments that were not run", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def run_text(record: Record) -> str:
    """Return the command, what it ran on, and what it cost, in two sentences."""
    machines = "; ".join(machine_text(machine) for machine in record.machines)
    return (
        f"`{record.command}`: {data_text(record)}; "
        f"{counted(len(record.stages), 'stage')}, {duration(record.seconds)} in all. "
        f"{machines}. {code_text(record)}."
    )


def machine_text(machine: Mapping[str, Any]) -> str:
    """Return a machine in words."""
    parts = [machine.get("processor"), counted(machine.get("cores") or 0, "core")]
    if machine.get("memory_gib"):
        parts.append(f"{machine['memory_gib']:.0f} GiB")
    gpus = Counter(machine.get("gpus") or ())
    parts += [f"{number} x {name}" for name, number in gpus.items()] or ["no GPU"]
    return ", ".join(part for part in parts if part)


def data_text(record: Record) -> str:
    """Return what data a run used."""
    parts = [
        f"{part.name} ({part.use}, {counted(part.files, 'file')}, {size(part.bytes)})"
        for part in record.data
    ]
    if not any(part.use == "data" for part in record.data):
        parts.insert(0, "the photos that ship with scikit-image")
    return ", ".join(parts)


def code_text(record: Record) -> str:
    """Return the commit and the version of torch."""
    parts = ["no git repository" if record.commit is None else f"Commit {record.commit[:12]}"]
    if record.dirty:
        parts[0] += " with changes"
    if "torch" in record.libraries:
        parts.append(f"torch {record.libraries['torch']}")
    return ", ".join([*parts, f"Python {record.python}"])


def _section(part: Judged, record: Record, records_at: str) -> str:
    folder = PurePosixPath(records_at)
    parts = [
        f'<a id="{part.name}"></a>\n\n### {_line(part.title)}',
        run_text(record),
        *_tables(record.tables),
    ]
    if record.notes:
        parts.append("\n".join(f"- {_line(note)}" for note in record.notes))
    links = [f"[{name}]({folder / record.name / name})" for name in _names(record)]
    links.append(f"[record]({folder / f'{record.name}.json'})")
    parts.append(f"Plots and pictures: {', '.join(links)}." if links[1:] else f"{links[0]}.")
    return "\n\n".join(parts)


def _names(record: Record) -> list[str]:
    return [figure.file for figure in record.figures]


def _tables(tables: Iterable[Table]) -> list[str]:
    parts = []
    for table in tables:
        rows = [[cell_text(cell) for cell in row] for row in table.rows]
        parts += [f"**{_line(table.title)}**", _table(table.columns, rows, number_columns(table))]
        if table.note:
            parts.append(_line(table.note))
    return parts


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[bool] = ()
) -> str:
    rules = ["---:" if right else "---" for right in numbers] or ["---"] * len(heads)
    lines = [_row(heads, _cell), _row(rules, str), *(_row(row, _cell) for row in rows)]
    return "\n".join(lines)


def _row(cells: Iterable[str], show: Callable[[str], str]) -> str:
    return "| " + " | ".join(show(cell) for cell in cells) + " |"


def _claim_cells(claim: Claim) -> list[str]:
    verdict = f"**{claim.verdict}**" if claim.verdict in VERDICTS[:2] else claim.verdict
    ours = "–" if claim.verdict == NOT_RUN else claim.ours
    return [claim.statement, claim.source, claim.paper, ours, verdict]


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    """Return text as one line that cannot open a tag or a comment."""
    return _TAG.sub("&lt;", " ".join(text.split()))
