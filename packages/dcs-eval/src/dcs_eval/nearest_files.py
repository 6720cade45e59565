"""The nearest training pictures of samples that are files: a table of all, a sheet of some."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcs_common.atomic_file import whole_file, write_atomically
from dcs_eval.generation_report import GenerationReport
from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.nearest_sheet import nearest_sheet

_SHOWN = 24  # samples on the sheet
_HEADS = ("sample", "nearest by features", "1 - cosine", "nearest by pixels", "RMS difference")


def write_nearest(
    report: GenerationReport,
    seeds: Sequence[Mapping[int, LabelledFiles]],
    train: LabelledFiles,
    folder: Path,
) -> None:
    """Write ``nearest.csv`` and ``nearest.png``.

    The sheet shows the samples at the most levels that are nearest by features: the worst cases,
    whatever the rest look like.

    Args:
        report: of an evaluation with training pictures.
        seeds: the samples that it was made of, by levels.
        train: the training pictures that it was made of.
        folder: must exist.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_HEADS)
    cases: list[tuple[float, int, int, int, int]] = []
    for row in report.rows:
        if row.nearest is None:
            continue
        by = (row.nearest.features, row.nearest.pixels)
        for index, file in enumerate(seeds[row.seed][row.level].files):
            cells = [file.place]
            for found in by:
                nearest, distance = found.indices[index], found.distances[index]
                cells += [train.files[nearest].place, f"{distance:.6f}"]
            writer.writerow(cells)
            if row.level == max(report.levels):
                places = (by[0].indices[index], by[1].indices[index])
                cases.append((by[0].distances[index], row.seed, index, *places))
    write_atomically(folder / "nearest.csv", table.getvalue().encode())
    with whole_file(folder / "nearest.png") as path:
        nearest_sheet(
            [
                (seeds[seed][max(report.levels)][index], train[first], train[second])
                for _, seed, index, first, second in sorted(cases)[:_SHOWN]
            ]
        ).save(path)
