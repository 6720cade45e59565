"""Runs whose stages have given what a test says, without having run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launching import Context, Experiment, Options
from launching.run_folder import RunFolder


def finished_run(
    folder: Path, experiment: Experiment, options: Options, results: Mapping[str, Any]
) -> Context:
    """Write a run's plan and the results of some stages; return the report's context."""
    run, stages = RunFolder(folder), experiment.stages(options)
    run.write_plan({"name": experiment.name}, options, stages)
    unknown = set(results) - {stage.name for stage in stages}
    assert not unknown, f"there are no stages {unknown}"
    for stage in stages:
        if stage.name in results:
            run.stage(stage.name).mkdir(parents=True)
            run.write_result(stage, results[stage.name], 1.0, {})
    return Context(stage="report", run=folder, options=options)
