"""What goes wrong is said, with the job's own last words."""

from collections.abc import Callable

import pytest

from .front_door import Run

Runs = Callable[[str], Run]
AGAIN = "Run the same command again to go on from what they left."


def test_failing_stage(run: Runs) -> None:
    failing = run("fail")
    out, err = failing.command(code=1)
    job = failing.job("bad")
    assert out == ""
    assert f"bad: failed (job {job})\n" in err
    message = err.partition("toy_stages: error: ")[2]
    lines = message.splitlines()
    assert lines[0] == f"3 of the stages did not finish. {AGAIN}"
    assert lines[1] == f"Stage 'bad' (job {job}, FAILED) ended with:"
    said = "  ValueError: A toy must be whole, but this one is broken. Take another."
    assert said in lines
    assert len(lines) < 25
    assert lines[-1] == "Not begun, as they wait for those: waits, report."
    assert failing.result("good")["square"] == 25  # what does not need it has run


def test_crash_without_a_word(run: Runs) -> None:
    crashing = run("crash")
    _, err = crashing.command(code=1)
    assert f"Stage 'bad' (job {crashing.job('bad')}, FAILED) ended with:\n" in err
    assert "Killed" in err


def test_unknown_partition(run: Runs) -> None:
    training = run("train-fast")
    out, err = training.command("--partition", "middle", code=2)
    assert out == ""
    assert err.splitlines()[-1] == refusal(
        "Invalid partition name specified",
        "--cpus 1 --memory-gb 0.5 --minutes 5 --partition middle",
    )
    training.command("--partition", "high")


@pytest.mark.parametrize(
    ("arguments", "reason", "asked"),
    [
        (
            ("--cpus", "100"),
            "More processors requested than permitted",
            "--cpus 100 --memory-gb 0.5 --minutes 5",
        ),
        (
            ("--memory-gb", "9000"),
            "Requested node configuration is not available",
            "--cpus 1 --memory-gb 9000 --minutes 5",
        ),
    ],
)
def test_more_than_there_is(run: Runs, arguments: tuple[str, ...], reason: str, asked: str) -> None:
    training = run("train-fast")
    _, err = training.command(*arguments, code=2)
    assert err.splitlines()[-1] == refusal(reason, asked)
    assert not (training.folder / "jobs.json").exists()


def refusal(reason: str, asked: str) -> str:
    """Return what is said where SLURM does not take a job."""
    return (
        "toy_stages: error: SLURM must accept the job of each stage, but refused that of 'train': "
        f"{reason}. It was asked for `--nodes 1 {asked}`. Ask for less, or name another partition, "
        "account or QOS: `sinfo -o '%P %l %c %m %G'` lists what partitions have, `sacctmgr show "
        "assoc` your accounts."
    )
