"""SLURM as its commands are seen: stand-ins for sbatch, squeue and sacct answer from a table."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from small_stages import EXPERIMENT

import status
from launching.experiment import run_command
from launching.run_folder import RunFolder
from launching.slurm_states import JobState, states_of
from launching.waiting import StageFailed, wait_for_slurm

SBATCH = """#!/bin/sh
if [ -e {place}/refuse ]; then
  cat {place}/refuse >&2
  exit 1
fi
echo x >> {place}/submitted
id=$((100 + $(wc -l < {place}/submitted)))
cp "$1" {place}/$id.sh
echo "Submitted batch job $id"
"""
SQUEUE = """#!/bin/sh
case "$*" in *"--format=%i|%T|%r"*) ;; *) echo "another format" >&2; exit 2;; esac
cat {place}/queue 2>/dev/null || {{ echo "Invalid job id" >&2; exit 1; }}
"""
SACCT = "#!/bin/sh\ncat {place}/accounts\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where what was submitted lies, and what squeue and sacct say."""
    place = tmp_path / "slurm"
    place.mkdir()
    texts = {"sbatch": SBATCH, "srun": "#!/bin/sh\n", "squeue": SQUEUE, "sacct": SACCT}
    for name, text in texts.items():
        (place / name).write_text(text.format(place=place))
        (place / name).chmod(0o755)
    (place / "accounts").write_text("JobID|State|NodeList\n")
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return place


def submitted(slurm: Path) -> dict[str, str | None]:
    """What each job waits for, by its number."""
    found = {}
    for path in sorted(slurm.glob("*.sh")):
        wait = re.search("--dependency=(.*)", path.read_text())
        found[path.stem] = None if wait is None else wait[1]
    return found


def run_folder() -> RunFolder:
    return RunFolder(Path("runs/small_stages-tiny"))


def test_an_array_and_what_waits_for_it(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(EXPERIMENT, ["--no-wait"]) == 0
    assert capsys.readouterr().out == (
        "submitted 4 stages; python experiments/status.py runs/small_stages-tiny\n"
    )
    assert submitted(slurm) == {
        "101": None,
        "102": "afterok:101_0:101_1",
        "103": "afterok:101_0:101_1:102",
    }
    assert run_folder().jobs() == {
        **{"count-0": "101_0", "count-1": "101_1"},
        **{"sum": "102", "report": "103"},
    }


def test_what_still_runs_is_not_submitted_again(slurm: Path) -> None:
    assert run_command(EXPERIMENT, ["--no-wait"]) == 0
    (slurm / "queue").write_text(
        "101_0|PENDING|Resources\n101_1|FAILED|NonZeroExitCode\n"
        "102|CANCELLED|DependencyNeverSatisfied\n103|CANCELLED|DependencyNeverSatisfied\n"
    )
    assert run_command(EXPERIMENT, ["--no-wait"]) == 0
    # count-1 alone once more, and what waits for it waits for the first count-0, too.
    assert {k: v for k, v in submitted(slurm).items() if int(k) > 103} == {
        "104": None,
        "105": "afterok:101_0:104",
        "106": "afterok:101_0:104:105",
    }


REMEDY = (
    "Ask for less, or name another partition, account or QOS: `sinfo -o '%P %l %c %m %G'` lists "
    "what partitions have, `sacctmgr show assoc` your accounts."
)


@pytest.mark.parametrize(
    ("arguments", "said", "message"),
    [
        (
            ("--partition", "nowhere", "--account", "vision"),
            "sbatch: error: invalid partition specified: nowhere\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "'count-0': Invalid partition name specified. It was asked for `--nodes 1 --cpus 1 "
            "--memory-gb 1 --minutes 5 --partition nowhere --account vision`.",
        ),
        (
            ("--cpus", "100", "--memory-gb", "9000.5"),
            "sbatch: error: CPU count per node can not be satisfied\n"
            "sbatch: error: Batch job submission failed: Requested node configuration is not "
            "available\n",
            "'count-0': Requested node configuration is not available. It was asked for `--nodes 1 "
            "--cpus 100 --memory-gb 9000.5 --minutes 5`.",
        ),
        (
            ("--preset", "paper", "--qos", "long"),
            "sbatch: error: Batch job submission failed: Invalid qos specification\n",
            "'train': Invalid qos specification. It was asked for `--nodes 2 --gpus 4 --cpus 8 "
            "--memory-gb 4 --minutes 1440 --qos long`.",
        ),
    ],
    ids=["partition", "size", "GPUs"],
)
def test_a_refused_job_says_why_and_leaves_the_others(
    slurm: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
    message: str,
) -> None:
    (slurm / "refuse").write_text(said)
    assert run_command(EXPERIMENT, arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "small_stages: error: SLURM must accept the job of each stage, but refused that of "
        f"{message} {REMEDY}"
    )
    assert run_folder().jobs() == {}


def test_states_come_from_the_queue_and_then_from_the_accounts(slurm: Path) -> None:
    (slurm / "queue").write_text(
        "7_0|RUNNING|None\n7_1|PENDING|ReqNodeNotAvail, UnavailableNodes:n[1-2]\n"
        "7_2|PENDING|None\n7_3|FAILED|NonZeroExitCode\n9|RUNNING|None\n"
    )
    (slurm / "accounts").write_text(
        "JobID|State|NodeList\n8|CANCELLED by 0|None\n8.batch|CANCELLED|n\n"
    )
    assert states_of(["7_0", "7_1", "7_2", "7_3", "8", "5"]) == {
        "7_0": JobState("RUNNING"),
        "7_1": JobState("PENDING", "ReqNodeNotAvail, UnavailableNodes:n[1-2]"),
        "7_2": JobState("PENDING"),
        "7_3": JobState("FAILED"),
        "8": JobState("CANCELLED"),
        "5": JobState("UNKNOWN"),
    }


def test_the_status_says_why_a_job_waits(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(EXPERIMENT, ["--no-wait"]) == 0
    (slurm / "queue").write_text(
        "101_0|RUNNING|None\n101_1|PENDING|Resources\n102|PENDING|Dependency\n"
    )
    capsys.readouterr()
    assert status.main([str(run_folder().path)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split("  ")[:2] for line in map(_single, lines)] == [
        ["count-0", "running"],
        ["count-1", "pending (Resources)"],
        ["sum", "pending (Dependency)"],
        ["report", "unknown"],
    ]


def test_the_status_does_not_wait_for_torch() -> None:
    code = "import status, sys; print('torch' in sys.modules)"
    folder = Path(status.__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, check=True)
    assert done.stdout == b"False\n"


def _single(line: str) -> str:
    """Return a line of a table with two blanks between cells."""
    return re.sub("  +", "  ", line)


def test_a_cluster_that_answers_nothing_is_asked_once(
    slurm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (slurm / "sacct").write_text(f"#!/bin/sh\necho x >> {slurm}/asked\nexit 1\n")
    assert states_of(["21", "22", "23"]) == dict.fromkeys(("21", "22", "23"), JobState("UNKNOWN"))
    assert (slurm / "asked").read_text() == "x\n"
    assert capfd.readouterr().err == ""


def waited(tables: Sequence[dict[str, JobState]], results: dict[int, str] | None = None) -> None:
    """Wait for a submitted run; at each look SLURM says the next table, and stages finish."""
    run = run_folder()
    stages, looks = run.stages(), iter(range(len(tables)))

    def states(_jobs: Sequence[str]) -> dict[str, JobState]:
        look = next(looks)
        if results and look in results:
            finish(run, results[look])
        jobs = run.jobs()
        return {jobs[name]: state for name, state in tables[look].items()}

    wait_for_slurm(run, stages, states=states, sleep=lambda _: None)


def finish(run: RunFolder, name: str) -> None:
    (run.stage(name)).mkdir(parents=True, exist_ok=True)
    (stage,) = (stage for stage in run.stages() if stage.name == name)
    run.write_result(stage, {"value": 1}, 1.0, {})


ALL = ("count-0", "count-1", "sum", "report")


def test_a_preempted_job_is_waited_for(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(EXPERIMENT, ["--no-wait"]) == 0
    for name in ALL[1:]:
        finish(run_folder(), name)
    capsys.readouterr()
    words = ["RUNNING", "PREEMPTED", "REQUEUED", "PENDING", "RUNNING", "COMPLETED"]
    states = [JobState("PENDING", "Priority"), *map(JobState, words)]
    waited([{"count-0": state} for state in states], {6: "count-0"})
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in said if "count-0" in line] == [
        "pending (Priority) (job 101_0)",
        *(f"{word.lower()} (job 101_0)" for word in words[:-1]),
        "finished",
    ]


def test_a_failed_job_is_shown_with_what_it_printed(slurm: Path) -> None:
    assert run_command(EXPERIMENT, ["--no-wait"]) == 0
    run = run_folder()
    finish(run, "count-0")
    run.stage("count-1").mkdir(parents=True)
    (run.logs / "101_1").mkdir(exist_ok=True)
    (run.logs / "101_1" / "101_1_0_log.err").write_text("Traceback\nRuntimeError: no more\n")
    gone = JobState("CANCELLED")
    table = {"count-1": JobState("FAILED"), "sum": gone, "report": gone}
    with pytest.raises(StageFailed) as failure:
        waited([table, table])
    assert str(failure.value) == (
        "3 of the stages did not finish. Run the same command again to go on from what they left.\n"
        "Stage 'count-1' (job 101_1, FAILED) ended with:\n"
        "  Traceback\n"
        "  RuntimeError: no more\n"
        "Not begun, as they wait for those: sum, report."
    )


def test_a_result_that_is_seen_late_is_no_failure(slurm: Path) -> None:
    assert run_command(EXPERIMENT, ["--no-wait"]) == 0
    for name in ALL[1:]:
        finish(run_folder(), name)
    waited([{"count-0": JobState("COMPLETED")}], {0: "count-0"})


def test_the_plan_is_kept_as_json(slurm: Path) -> None:
    assert run_command(EXPERIMENT, ["--no-wait"]) == 0
    plan = json.loads((run_folder().path / "plan.json").read_text())
    assert plan["format"] == 1
    assert [stage["name"] for stage in plan["stages"]] == list(ALL)
