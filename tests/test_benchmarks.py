"""The benchmarks are scripts that no other test imports: they must at least start."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_an_unknown_benchmark_is_refused_with_the_names_of_all() -> None:
    script = ROOT / "benchmarks/run.py"
    done = subprocess.run(
        [sys.executable, script, "nothing"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2
    assert "unknown benchmarks ['nothing']; choose from ['attention', " in done.stderr
