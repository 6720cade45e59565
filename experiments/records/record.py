"""The record of a run: what was run, on what, how long it took and what it found, as one file."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from records.data_summary import DataSummary
from records.report import Claim, Table

#: The version of `record.json`. Readers refuse others.
RECORD_FORMAT = 1
RECORD_FILE = "record.json"
#: The folder of plots and pictures beside a run's record.
PLOTS_FOLDER = "plots"


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRecord:
    """A stage as it was run.

    Attributes:
        name, arguments: as the experiment has them, without paths.
        seconds: that its tries took together; None where it was not kept.
        machine: of :func:`records.provenance.this_machine`, None where it was not kept.
    """

    name: str
    arguments: Mapping[str, Any]
    seconds: float | None
    machine: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureFile:
    """A plot or picture by the name of its file."""

    file: str
    caption: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A run and its report.

    Attributes:
        experiment: its name.
        title, paper: what it reproduces, and what the paper reports.
        preset: "tiny" or "paper".
        command: that runs it again, with names in place of paths.
        options: what the command line said, without paths.
        data: everything that was read from outside; empty where the bundled photos served.
        stages: in the order of the experiment.
        commit, dirty: of the code; None outside a git repository.
        packages, libraries, python: versions.
        machine: that wrote the report.
        tables, claims, notes: of the report.
        figures: its plots, then its pictures.
    """

    experiment: str
    title: str
    paper: str
    preset: str
    command: str
    options: Mapping[str, Any]
    data: tuple[DataSummary, ...]
    stages: tuple[StageRecord, ...]
    commit: str | None
    dirty: bool | None
    packages: Mapping[str, str]
    libraries: Mapping[str, str]
    python: str
    machine: Mapping[str, Any]
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    figures: tuple[FigureFile, ...]
    notes: tuple[str, ...]

    @property
    def conditions(self) -> str:
        """What sets the run apart from the experiment's own without flags; empty for that one."""
        uses = {part.use for part in self.data}
        use = "held-out" if "held-out" in uses else "data"
        names = [part.name for part in self.data if part.use == use]
        parts = [] if self.preset == "tiny" else [f"preset {self.preset}"]
        parts += [f"on {', '.join(names)}"] if names else []
        return ", ".join(parts)

    @property
    def name(self) -> str:
        """The name of its file and of its part of pages: runs on other data stand side by side."""
        words = re.findall("[a-z0-9_.]+", self.conditions.lower())
        kept = [word for word in words if word not in ("preset", "on")]
        return "-".join([self.experiment, *kept])

    @property
    def seconds(self) -> float | None:
        """What all stages took together, None where none was kept."""
        kept = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(kept) if kept else None

    @property
    def machines(self) -> tuple[Mapping[str, Any], ...]:
        """The machines that ran the stages, each once; where none was kept, the report's."""
        found: list[Mapping[str, Any]] = []
        for stage in self.stages:
            if stage.machine is not None and stage.machine not in found:
                found.append(stage.machine)
        return tuple(found) or (self.machine,)

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        content = {"format": RECORD_FORMAT, **asdict(self)}
        return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def load_record(path: str | PathLike[str]) -> Record:
    """Read a record.

    Raises:
        ValueError: if the file is missing, damaged or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"A run folder must hold its record, but {path} does not exist. Let the experiment "
            "finish: its last stage writes it."
        )
    try:
        content = json.loads(path.read_bytes())
        written = content.pop("format")
        if written == RECORD_FORMAT:
            return _read(content)
    except Exception as error:  # damage shows as nearly any exception
        raise ValueError(
            f"A record must be a whole file of this release, but {path} is not "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}). "
            "Run the experiment's last stage again."
        ) from None
    raise ValueError(
        f"A record must have format {RECORD_FORMAT}, but {path} has {written!r}. Use the release "
        "that wrote it, or run the experiment's last stage again."
    )


def _read(content: dict[str, Any]) -> Record:
    kinds = {
        "data": DataSummary,
        "stages": StageRecord,
        "tables": Table,
        "claims": Claim,
        "figures": FigureFile,
    }
    for name, kind in kinds.items():
        content[name] = tuple(kind(**fields) for fields in content[name])
    content["notes"] = tuple(content["notes"])
    return Record(**content)
