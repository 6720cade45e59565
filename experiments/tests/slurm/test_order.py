"""Stages come in their order, those of an array side by side, each once."""

from collections.abc import Callable

from .front_door import Run, state

Runs = Callable[[str], Run]


def test_array_runs_side_by_side(run: Runs) -> None:
    array = run("array")
    out, err = array.command()
    names = [f"meet-{number}" for number in range(4)]
    first = array.job("meet-0").partition("_")[0]
    assert [array.job(name) for name in names] == [f"{first}_{number}" for number in range(4)]
    assert [array.result(name)["task"] for name in names] == ["0", "1", "2", "3"]
    assert array.result("add")["sum"] == 0 + 1 + 4 + 9
    for stage in (*names, "add", "report"):
        assert f"] {stage}: finished\n" in err
    assert "[6/6]" in err
    assert out.endswith(f"wrote {array.folder}\n")


def test_stages_wait_for_those_they_need_and_run_once(run: Runs) -> None:
    order = run("order")
    out, err = order.command("--no-wait")
    assert out == f"submitted 5 stages; python experiments/status.py {order.folder}\n"
    assert err == ""
    names = ("square-2", "square-3", "first", "both", "report")
    jobs = {name: order.job(name) for name in names}
    after = f"afterok:{jobs['square-2']}:{jobs['square-3']}\n"
    assert f"#SBATCH --dependency={after}" in order.log("both", "submission.sh")

    order.command()  # waits for the same jobs
    assert {name: order.job(name) for name in names} == jobs
    assert [state(job) for job in jobs.values()] == ["COMPLETED"] * 5
    ends = {name: order.result(name)["ended"] for name in ("square-2", "square-3")}
    assert order.result("first")["began"] > ends["square-2"]
    assert order.result("both")["began"] > max(ends.values())
    assert order.result("first")["sum"] == 4
    assert order.result("both")["sum"] == 13

    (order.stage("both") / "result.json").unlink()
    order.command()
    changed = {name for name in names if order.job(name) != jobs[name]}
    assert changed == {"both", "report"}
