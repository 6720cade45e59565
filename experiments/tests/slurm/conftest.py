"""These tests need a SLURM of their own, which `nox -s slurm` brings up."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .front_door import IMPORTED_FROM, Run, slurm

sys.path[:0] = [str(folder) for folder in IMPORTED_FROM]


@pytest.fixture(scope="session")
def cluster() -> None:
    """Check that a SLURM with the partitions `low` and `high` is up, and that it is idle."""
    if "SLURM_CONF" not in os.environ:
        pytest.skip("needs a SLURM of its own: run `nox -s slurm`")
    asked = ("sinfo", "--noheader", "--format=%R %T")
    found = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    if sorted(found.stdout.splitlines()) != ["high idle", "low idle"]:
        pytest.fail(
            "These tests need an idle SLURM with the partitions low and high, but there is: "
            f"{found.stdout or found.stderr}. Run `nox -s slurm`."
        )


@pytest.fixture
def run(cluster: None, tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    """Give the run of a preset; its commands and jobs are ended in the end."""
    runs: list[Run] = []

    def of(preset: str) -> Run:
        runs.append(Run(tmp_path / f"{preset}-{len(runs)}", preset))
        return runs[-1]

    yield of
    for process in (process for run in runs for process in run.started):
        process.kill()
        process.communicate()
    slurm("scancel", "--user", slurm("id", "-un"))
