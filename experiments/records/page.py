"""The page of all records: one HTML file, with the plots that lie beside it.

Plots are linked and not held in it: the repository would keep each of them twice, at every change.
"""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path, PurePosixPath

from records.cells import cell_text, counted, duration, number_columns, size
from records.markdown import code_text, data_text, machine_text
from records.record import FigureFile, Record
from records.report import VERDICTS, Claim, Table, Verdict
from records.verdicts import Judged, counts

#: Classes of the style sheet.
_STYLES: dict[Verdict, str] = dict(zip(VERDICTS, ("yes", "no", "untestable", "open"), strict=True))
_SVG_WIDTH = re.compile(rb'<svg [^>]*width="([0-9.]+)pt"')
_WIDE = 580  # points: such a plot gets a row of its own


def page(judged: Sequence[Judged], figures: Mapping[str, Mapping[str, bytes]]) -> str:
    """Return the page: all verdicts, then each experiment's claims, plots, tables and cost.

    Args:
        judged: all experiments.
        figures: by record and name, the files of its plots and pictures.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    sections = "".join(
        _experiment(part, part.record, figures[part.name]) for part in judged if part.record
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>DCS-LDM: experiments</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{_head(judged)}{_verdicts(judged)}{sections}{_left(judged)}"
        "</main>\n</body>\n</html>\n"
    )


def _head(judged: Sequence[Judged]) -> str:
    run = [part.record for part in judged if part.record]
    took = f", {duration(sum(record.seconds or 0 for record in run))} in all" if run else ""
    first = [part for part in judged if not part.is_repeat]
    again = counted(len(judged) - len(first), "run")
    more = f", {again} more on other data" if len(judged) > len(first) else ""
    tiles = "".join(
        f'<li class="{_STYLES[verdict]}"><b>{number}</b> {verdict}</li>'
        for verdict, number in counts(judged).items()
        if number
    )
    return (
        "<h1>Every claim of the paper, put to the test</h1>\n"
        '<p class="lead">Figures and tables of <i>Decoupling Complexity from Scale in Latent '
        "Diffusion Model</i>, each a command. The paper’s value stands beside ours. Most runs are "
        "small: they test the sign of a claim, not its size.</p>\n"
        f'<ul class="tiles">{tiles}</ul>\n'
        f'<p class="note">{sum(part.record is not None for part in first)} of '
        f"{counted(len(first), 'experiment')} run{more}{took}.</p>\n"
    )


def _verdicts(judged: Sequence[Judged]) -> str:
    rows = []
    for part in judged:
        if not part.claims:
            continue
        link = f'<a href="#{part.name}">{_title(part)}</a>' if part.record else _title(part)
        rows.append(f'<tr class="group"><th colspan="4" scope="rowgroup">{link}</th></tr>\n')
        rows += [_claim(claim) for claim in part.claims]
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Claim", "Paper", "Here", ""))
    return (
        '<section>\n<h2>Verdicts</h2>\n<table class="claims">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table>\n</section>\n"
    )


def _claim(claim: Claim) -> str:
    ours = f'<td data-head="Here">{_text(claim.ours)}</td>'
    if claim.verdict == "not run":
        ours = '<td class="none">–</td>'
    return (
        f'<tr><td data-head="Claim">{_text(claim.statement)}'
        f'<span class="source">{_text(claim.source)}</span></td>'
        f'<td data-head="Paper">{_text(claim.paper)}</td>{ours}'
        f'<td><span class="badge {_STYLES[claim.verdict]}">{claim.verdict}</span></td></tr>\n'
    )


def _experiment(part: Judged, record: Record, files: Mapping[str, bytes]) -> str:
    badges = "".join(
        f'<li><span class="badge {_STYLES[claim.verdict]}">{claim.verdict}</span> '
        f"{_text(claim.statement)}<dl><dt>Paper</dt><dd>{_text(claim.paper)}</dd>"
        f"<dt>Here</dt><dd>{_text(claim.ours)}</dd></dl></li>\n"
        for claim in record.claims
    )
    claims = f'<ul class="findings">\n{badges}</ul>\n' if badges else ""
    drawn = "".join(_figure(figure, record, files[figure.file]) for figure in record.figures)
    drawn = f'<div class="figures">\n{drawn}</div>\n' if drawn else ""
    notes = "".join(f"<li>{_text(note)}</li>" for note in record.notes)
    if notes:
        notes = f'<h3>Read with care</h3>\n<ul class="note">{notes}</ul>\n'
    return (
        f'<section class="experiment" id="{escape(part.name)}">\n<h2>{_title(part)}</h2>\n'
        f'<p class="note"><b>The paper:</b> {_text(record.paper)}</p>\n{claims}{drawn}'
        f"{''.join(map(_table, record.tables))}{notes}{_how(record)}</section>\n"
    )


def _figure(figure: FigureFile, record: Record, data: bytes) -> str:
    kind = PurePosixPath(figure.file).suffix
    style = kind[1:]
    if kind == ".svg" and (found := _SVG_WIDTH.search(data)) and float(found[1]) > _WIDE:
        style += " wide"
    name = figure.caption or PurePosixPath(figure.file).stem.replace("-", " ").replace("_", " ")
    place = escape(f"{record.name}/{figure.file}")
    caption = f"<figcaption>{_text(figure.caption)}</figcaption>" if figure.caption else ""
    return (
        f'<figure class="{style}"><a href="{place}"><img src="{place}" alt="{escape(name)}"/></a>'
        f"{caption}</figure>\n"
    )


def _table(table: Table) -> str:
    numbers = number_columns(table)
    heads = "".join(
        f'<th scope="col"{_style(right)}>{_text(head)}</th>'
        for head, right in zip(table.columns, numbers, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{_style(right, cell is None)}>{_text(cell_text(cell))}</td>"
            for cell, right in zip(row, numbers, strict=True)
        )
        + "</tr>\n"
        for row in table.rows
    )
    note = f'<p class="note">{_text(table.note)}</p>\n' if table.note else ""
    return (
        f'<h3>{_text(table.title)}</h3>\n<div class="scroll"><table>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n{note}"
    )


def _style(right: bool, missing: bool = False) -> str:
    names = [name for name, wanted in (("number", right), ("missing", missing)) if wanted]
    return f' class="{" ".join(names)}"' if names else ""


def _how(record: Record) -> str:
    """Return the command and its cost, and behind a click all that decided the figures."""
    machines = "".join(f"<li>{_text(machine_text(machine))}</li>" for machine in record.machines)
    digests = "".join(
        f"<li>{_text(part.name)} ({_text(part.use)}): {counted(part.files, 'file')}, "
        f"{size(part.bytes)}, SHA-256 of {part.of} <code>{part.sha256 or 'none'}</code></li>"
        for part in record.data
    )
    stages = "".join(
        f"<tr><td>{_text(stage.name)}</td>"
        f'<td class="number">{duration(stage.seconds)}</td>'
        f"<td><code>{_text(json.dumps(stage.arguments, ensure_ascii=False))}</code></td></tr>\n"
        for stage in record.stages
    )
    libraries = {**record.packages, **record.libraries}
    listed = ", ".join(f"{name} {version}" for name, version in libraries.items())
    return (
        f'<div class="how"><pre>{_text(record.command)}</pre>\n'
        f"<p>{duration(record.seconds)} in {counted(len(record.stages), 'stage')}, preset "
        f"{_text(record.preset)}, on {_text(data_text(record))}.</p>\n"
        f"<details><summary>How it was run</summary>\n"
        f"<ul><li>{_text(code_text(record))}</li>"
        f"{machines}<li>{_text(listed)}</li>{digests}</ul>\n"
        '<div class="scroll"><table>\n<thead><tr><th scope="col">Stage</th>'
        '<th scope="col" class="number">Time</th><th scope="col">Arguments</th></tr></thead>\n'
        f"<tbody>\n{stages}</tbody>\n</table></div></details></div>\n"
    )


def _left(judged: Sequence[Judged]) -> str:
    items = "".join(
        f"<li>{_title(part)}<pre>python experiments/{escape(part.name)}.py</pre></li>\n"
        for part in judged
        if not part.record
    )
    if not items:
        return ""
    return f'<section>\n<h2>Not run</h2>\n<ul class="left">\n{items}</ul>\n</section>\n'


def _title(part: Judged) -> str:
    return _text(part.title)


def _text(text: str) -> str:
    one_line = " ".join(text.split()).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    return escape(one_line, quote=False)
