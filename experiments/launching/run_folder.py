"""The folder of a run: its stages, what they gave, and which jobs run them.

- ``plan.json``: experiment, options and stages
- ``jobs.json``: the cluster's job of each stage
- ``lock``: of :mod:`launching.run_lock`
- ``logs/``: what jobs print, and Submitit's files
- ``stages/NAME/``: a stage's own folder, with ``result.json`` once it has finished
- ``record.json``, ``report.md`` and ``plots/``: written by the last stage
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launching.options import Options
from launching.stage import Resources, Stage

PLAN_FORMAT = 1


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes a run's files.

    Attributes:
        path: the folder.
    """

    path: Path

    def stage(self, name: str) -> Path:
        """Return a stage's folder."""
        return self.path / "stages" / name

    @property
    def logs(self) -> Path:
        """Where jobs write what they print."""
        return self.path / "logs"

    # ------------------------------------------------------------------ the plan

    def write_plan(
        self, experiment: Mapping[str, Any], options: Options, stages: Sequence[Stage]
    ) -> None:
        """Write what the run is, or check that it is the same.

        Args:
            experiment: its name, title, and what the paper reports.
            options: of the command line.
            stages: all of them.

        Raises:
            ValueError: if the folder holds another experiment, or a stage of it that has begun was
                given other arguments; or if it cannot be written.
        """
        plan = {
            "format": PLAN_FORMAT,
            "experiment": dict(experiment),
            "options": options.to_json(),
            "stages": [_stage_to_json(stage) for stage in stages],
        }
        if self._file("plan.json").exists():
            self._check_same(self.plan(), plan)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _write(self._file("plan.json"), plan)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def plan(self) -> dict[str, Any]:
        """Read the plan.

        Raises:
            ValueError: if there is none, or it is of another version.
        """
        path = self._file("plan.json")
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ValueError(
                f"A run folder must hold a plan, but {path} cannot be read. Name a folder that an "
                "experiment wrote, such as runs/ablation_margin-tiny."
            ) from None
        if plan.get("format") != PLAN_FORMAT:
            raise ValueError(
                f"A run's plan must have format {PLAN_FORMAT}, but {path} has "
                f"{plan.get('format')!r}. Use another run folder."
            )
        return plan

    def stages(self) -> list[Stage]:
        """Return the plan's stages."""
        return [_stage_from_json(values) for values in self.plan()["stages"]]

    def options(self) -> Options:
        """Return the plan's options."""
        return Options.from_json(self.plan()["options"])

    def _check_same(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        for name in ("experiment", "options"):
            key = "name" if name == "experiment" else "preset"
            if old[name][key] != new[name][key]:
                raise ValueError(
                    f"A run folder must hold one {key} of one experiment, but {self.path} has "
                    f"{old[name][key]!r}, not {new[name][key]!r}. Name another with `--run-folder`."
                )
        before = {stage["name"]: stage for stage in old["stages"]}
        for stage in new["stages"]:
            name = stage["name"]
            if name not in before or name == "report" or not self.stage(name).exists():
                continue
            then, now = before[name]["arguments"], stage["arguments"]
            changed = sorted(
                key for key in {*then, *now} if then.get(key, _NONE) != now.get(key, _NONE)
            )
            if changed:
                key = changed[0]
                raise ValueError(
                    "A run that goes on must do what it began with, but in "
                    f"{self.path} `{key}` of stage {name!r} was {then.get(key)!r} and is now "
                    f"{now.get(key)!r}. Name another folder with `--run-folder`."
                )

    # ------------------------------------------------------------------ results

    def result(self, stage: str) -> dict[str, Any]:
        """Return what a stage gave.

        Raises:
            ValueError: if it has not finished.
        """
        return self.finished_stage(stage)["result"]

    def finished_stage(self, stage: str) -> dict[str, Any]:
        """Return a finished stage's "result", "seconds", "machine" and "arguments".

        Raises:
            ValueError: if it has not finished.
        """
        path = self.stage(stage) / "result.json"
        if not path.exists():
            raise ValueError(
                f"Stage {stage!r} must have finished, but {path} is not there. Name it in `after`."
            )
        return json.loads(path.read_text(encoding="utf-8"))

    def write_result(
        self, stage: Stage, result: Any, seconds: float, machine: Mapping[str, Any]
    ) -> None:
        """Write that a stage has finished, what it gave, how long it took and where it ran."""
        content = {
            "arguments": dict(stage.arguments),
            "seconds": round(seconds, 2),
            "machine": dict(machine),
            "result": result,
        }
        _write(self.stage(stage.name) / "result.json", content)

    def is_finished(self, stage: str) -> bool:
        """Tell whether a stage has given its result."""
        return (self.stage(stage) / "result.json").exists()

    def finished(self) -> tuple[str, ...]:
        """Return the names of finished stages, in the plan's order."""
        return tuple(stage.name for stage in self.stages() if self.is_finished(stage.name))

    # ------------------------------------------------------------------ jobs

    def jobs(self) -> dict[str, str]:
        """Return the last job of each stage that was submitted."""
        path = self._file("jobs.json")
        if not path.exists():
            return {}
        return json.loads(path.read_text(encoding="utf-8"))

    def write_jobs(self, jobs: Mapping[str, str]) -> None:
        """Add jobs of stages."""
        _write(self._file("jobs.json"), self.jobs() | dict(jobs))

    def _file(self, name: str) -> Path:
        return self.path / name


def unwritable(run: Path, error: OSError) -> ValueError:
    """Return what is raised where a run's folder cannot be made or written."""
    return ValueError(
        f"The run folder must be one that can be written, but {run} cannot be "
        f"({error.strerror}). Name another with `--run-folder`."
    )


_NONE = object()


def _write(path: Path, content: Any) -> None:
    # It brings torch, for seconds, which status.py would wait for and not need.
    from dcs_common.atomic_file import write_atomically

    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _stage_to_json(stage: Stage) -> dict[str, Any]:
    return asdict(stage) | {"arguments": json.loads(json.dumps(dict(stage.arguments)))}


def _stage_from_json(values: dict[str, Any]) -> Stage:
    return Stage(
        **values | {"after": tuple(values["after"]), "resources": Resources(**values["resources"])}
    )
