"""Stages in processes of their own on this machine."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from small_stages import EXPERIMENT

from launching import Stage
from launching.experiment import run_command


def test_a_failure_is_shown_and_what_does_not_need_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toys = Path(__file__).resolve().parent / "toys"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(toys), os.environ.get("PYTHONPATH", "")]))
    stages = [
        Stage(name="fails-once", function="small_stages:fail"),
        Stage(name="other", function="small_stages:count", arguments={"start": 1}),
        Stage(
            name="last",
            function="small_stages:count",
            arguments={"start": 2},
            after=("fails-once",),
        ),
    ]
    experiment = replace(
        EXPERIMENT, presets={"tiny": lambda _: stages}, report="small_stages:no_such_report"
    )
    run = tmp_path / "run"
    arguments = ("--cluster", "local", "--parallel", "2", "--run-folder", str(run))
    assert run_command(experiment, arguments) == 1
    said = capsys.readouterr().err
    assert "small_stages: error: 1 of the stages did not finish. Run the same command again" in said
    assert "\n  RuntimeError: this stage fails once\n" in said
    assert (run / "stages" / "other" / "result.json").exists()
    assert not (run / "stages" / "last").exists()
