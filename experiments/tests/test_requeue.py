"""A preempted job asks to be queued again; a cancelled one, or one that is done, does not."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launching import Options, Stage
from launching.job import EXIT_UNFINISHED, StageJob
from launching.run_folder import RunFolder

Asked = Callable[[], list[str]]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A job 71 on SLURM; give what it asks of `scontrol`."""
    programs, asked = tmp_path / "programs", tmp_path / "asked"
    programs.mkdir()
    for name, script in {
        "squeue": 'case "$*" in *--jobs=71) [ "$STATE" ] && echo "71|$STATE|None";; esac',
        "scontrol": f'echo "$*" >>{asked}',
    }.items():
        path = programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    for name, value in {
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "71",
        "SLURM_PROCID": "0",
        "STATE": "RUNNING",
    }.items():
        monkeypatch.setenv(name, value)
    return lambda: asked.read_text().splitlines() if asked.exists() else []


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put back what a job does to signals."""
    numbers = (signal.SIGTERM, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def job(folder: Path, function: str, **arguments: int) -> StageJob:
    """Return the job of a stage, whose plan is written."""
    stage = Stage(name="stage", function=f"small_stages:{function}", arguments=arguments)
    about = {"name": "small_stages", "title": "", "paper": ""}
    RunFolder(folder).write_plan(about, Options(), [stage])
    return StageJob(folder, "stage")


def test_preempted(slurm: Asked, handlers: None, tmp_path: Path) -> None:
    stage = job(tmp_path / "run", "stop")
    with pytest.raises(SystemExit) as left:
        stage()
    assert left.value.code == EXIT_UNFINISHED
    assert slurm() == ["requeue 71"]
    stage()  # as SLURM starts it again
    assert slurm() == ["requeue 71"]
    result = json.loads((tmp_path / "run/stages/stage/result.json").read_text())
    assert result["result"] == {"value": 3}


@pytest.mark.parametrize(
    ("variable", "value"),
    [("STATE", "COMPLETING"), ("STATE", ""), ("SLURM_PROCID", "1"), ("SUBMITIT_EXECUTOR", "local")],
    ids=["cancelled", "SLURM does not answer", "another process asks", "not on SLURM"],
)
def test_left_alone(
    slurm: Asked,
    handlers: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "71")
    with pytest.raises(SystemExit):
        job(tmp_path / "run", "stop")()
    assert slurm() == []


def test_warnings_after_the_end_are_ignored(slurm: Asked, handlers: None, tmp_path: Path) -> None:
    job(tmp_path / "run", "count", start=1)()
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
