"""What a stage's function is given."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launching.options import Options
from launching.run_folder import RunFolder


class Unfinished(Exception):  # noqa: N818  nothing went wrong
    """A stage was asked to stop, has written what it needs to go on, and is to be run again."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where a stage is, and what came before it.

    Attributes:
        stage: its name.
        run: the run's folder.
        options: what the command line said.
    """

    stage: str
    run: Path
    options: Options

    @property
    def folder(self) -> Path:
        """The stage's own folder, which exists."""
        return self.folder_of(self.stage)

    @property
    def device(self) -> str:
        """Torch device."""
        return self.options.device

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that have finished, in order."""
        return RunFolder(self.run).finished()

    def folder_of(self, stage: str) -> Path:
        """Return another stage's folder."""
        return RunFolder(self.run).stage(stage)

    def result(self, stage: str) -> dict[str, Any]:
        """Return what a finished stage's function returned.

        Raises:
            ValueError: if it has not finished.
        """
        return RunFolder(self.run).result(stage)
