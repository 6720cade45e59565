"""The last stage of every experiment: tables, plots and verdicts from what the others gave."""

from typing import Any

import records
from launching.context import Context
from launching.job import function_of
from launching.run_folder import RunFolder


def report(context: Context, *, function: str) -> dict[str, Any]:
    """Let an experiment report, and write its record."""
    run = RunFolder(context.run)
    found = function_of(function)(context)
    stages = [
        {"stage": name} | run.finished_stage(name) for name in run.finished() if name != "report"
    ]
    records.write(context.run, run.plan()["experiment"], context.options, stages, found)
    return {"tables": len(found.tables), "claims": len(found.claims)}
