"""An experiment in this process: its stages, its folder, and what is refused."""

import json
from pathlib import Path

import pytest
from small_stages import EXPERIMENT

from launching import Experiment, Stage
from launching.experiment import run_command

INLINE = ("--cluster", "inline")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # no SLURM, whatever there is


def refusal(
    capsys: pytest.CaptureFixture[str], *arguments: str, of: Experiment = EXPERIMENT
) -> str:
    assert run_command(of, arguments) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    prefix = f"{of.name}: error: "
    assert said.startswith(prefix)
    return said.removeprefix(prefix)


def calls(run: Path, stage: str) -> int:
    return len((run / "stages" / stage / "calls").read_text().splitlines())


def test_stages_run_in_order_and_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "runs" / "small_stages-tiny"
    assert run_command(EXPERIMENT, []) == 0  # where there is no SLURM, inline is the default
    first = capsys.readouterr().out
    assert "| sum | 15 |" in first
    assert first.endswith("\nwrote runs/small_stages-tiny\n")
    result = json.loads((run / "stages" / "sum" / "result.json").read_text())
    assert result["arguments"] == {"start": 10}
    assert result["result"] == {"value": 15}
    assert run_command(EXPERIMENT, []) == 0
    assert calls(run, "sum") == 1
    record = json.loads((run / "record.json").read_text())
    assert record["experiment"] == "small_stages"
    assert [stage["name"] for stage in record["stages"]] == ["count-0", "count-1", "sum"]


def test_more_seeds_keep_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    arguments = (*INLINE, "--run-folder", str(folder))
    assert run_command(EXPERIMENT, (*arguments, "--seeds", "1")) == 0
    assert run_command(EXPERIMENT, (*arguments, "--seeds", "3")) == 0
    assert [calls(folder, f"count-{i}") for i in range(3)] == [1, 1, 1]
    assert "| count-2 |" in capsys.readouterr().out


def test_a_stage_that_stops_is_gone_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = changed([Stage(name="stop", function="small_stages:stop")])
    assert run_command(experiment, INLINE) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "small_stages: at step 3; run it again to go on"
    )
    assert run_command(experiment, INLINE) == 0


def test_a_run_that_goes_on_does_what_it_began_with(capsys: pytest.CaptureFixture[str]) -> None:
    def of(start: int) -> Experiment:
        arguments = {"start": start}
        return changed([Stage(name="a", function="small_stages:count", arguments=arguments)])

    assert run_command(of(1), INLINE) == 0
    assert refusal(capsys, *INLINE, of=of(2)) == (
        "A run that goes on must do what it began with, but in runs/small_stages-tiny `start` of "
        "stage 'a' was 1 and is now 2. Name another folder with `--run-folder`."
    )


def test_a_folder_holds_one_preset(capsys: pytest.CaptureFixture[str]) -> None:
    folder = ("--run-folder", "here")
    assert run_command(EXPERIMENT, (*INLINE, *folder)) == 0
    assert refusal(capsys, *INLINE, *folder, "--preset", "paper") == (
        "A run folder must hold one preset of one experiment, but here has 'tiny', not 'paper'. "
        "Name another with `--run-folder`."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "0"), "`--seeds` must be at least 1, but is 0."),
        (
            ("--data", "nowhere"),
            "`--data` must name files and folders that exist, but nowhere does not. Give paths "
            "that every node of the cluster sees.",
        ),
        (
            ("--feature-weights", "nowhere.pth"),
            "`--feature-weights` must name files and folders that exist, but nowhere.pth does not. "
            "Give paths that every node of the cluster sees.",
        ),
        (
            ("--cluster", "slurm"),
            "`--cluster slurm` must run where `sbatch` is, but there is none on PATH. Log in to "
            "the cluster, or use `--cluster local` or `inline`. A one-node SLURM for trials: "
            "experiments/slurm/one_node.sh.",
        ),
        (
            ("--partition", "gpu"),
            "`--partition` is for SLURM, but the cluster is 'inline' and it is 'gpu'. Leave it "
            "out, or use `--cluster slurm`.",
        ),
        (
            ("--no-wait",),
            "`--no-wait` is for SLURM, but the cluster is 'inline'. Leave it out: nothing else "
            "would start the stages that wait for others.",
        ),
        (
            ("--cluster", "local", "--dry-run"),
            "`--dry-run` prints what SLURM would get, but the cluster is 'local'. Use `--cluster "
            "slurm`, or `--plan` for what it costs.",
        ),
        (
            ("--gpus", "2"),
            "`--nodes` and `--gpus` are for presets with stages on GPUs, but this one has none. "
            "Leave them out.",
        ),
        (("--parallel", "0"), "`--parallel` must be at least 1, but is 0."),
        (
            ("--cluster", "local", "--minutes", "2"),
            "A job's time limit must be at least its warning and 60 s to work in, but stage "
            "'count-0' has 120 s and is warned 90 s before they end: it would be queued again "
            "without having got on. Use `--minutes 3` or more, or `--signal-delay 60` or less.",
        ),
        (
            ("--dry-run", "--minutes", "1", "--signal-delay", "1"),
            "A job's time limit must be at least its warning and 60 s to work in, but stage "
            "'count-0' has 60 s and is warned 1 s before they end: it would be queued again "
            "without having got on. Use `--minutes 2` or more.",
        ),
    ],
)
def test_misuse_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert refusal(capsys, *arguments) == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--cluster", "inline", "--minutes", "1"),
        ("--dry-run", "--minutes", "3"),
        ("--dry-run", "--minutes", "2", "--signal-delay", "60"),
    ],
    ids=["no limit", "enough", "just enough"],
)
def test_time_limits_that_leave_time_to_work(arguments: tuple[str, ...]) -> None:
    assert run_command(EXPERIMENT, arguments) == 0


def test_an_unknown_preset_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_command(EXPERIMENT, ["--preset", "huge"])
    assert left.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1].replace("'", "")  # Pythons quote differently
    assert said == (
        "small_stages.py: error: argument --preset: invalid choice: huge (choose from tiny, paper)"
    )


def test_a_plan_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(EXPERIMENT, ["--plan", "--seeds", "5"]) == 0
    assert capsys.readouterr().out == "5 seeds, no time\n"
    assert list(tmp_path.iterdir()) == []


def changed(stages: list[Stage]) -> Experiment:
    """The same experiment with other stages."""
    from dataclasses import replace

    return replace(EXPERIMENT, presets={"tiny": lambda _: stages})
