"""What SLURM is given, to the letter."""

import sys
from pathlib import Path

import pytest
from small_stages import EXPERIMENT

from launching.experiment import run_command

GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("array-and-dependencies", ("--seeds", "3")),
        (
            "two-nodes-of-gpus",
            (
                *(
                    "--preset",
                    "paper",
                    "--partition",
                    "gpu",
                    "--account",
                    "vision",
                    "--qos",
                    "long",
                ),
                *("--constraint", "h100", "--exclude", "node-[1-2]", "--signal-delay", "120"),
                *("--nodes", "4", "--gpus", "8", "--cpus", "12", "--memory-gb", "800"),
                *("--minutes", "2880"),
            ),
        ),
    ],
)
def test_the_sbatch_files_are_these(
    name: str,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(EXPERIMENT, ("--dry-run", *arguments)) == 0
    text = capsys.readouterr().out
    places = {str(tmp_path): "CURRENT", str(Path(__file__).resolve().parents[1]): "EXPERIMENTS"}
    for place, word in (places | {sys.executable: "PYTHON"}).items():
        text = text.replace(place, word)
    assert text == (GOLDEN / f"{name}.txt").read_text()
    assert list(tmp_path.iterdir()) == []  # a dry run writes nothing
