"""What each package exports is what `tests/contracts/frozen/` holds."""

import subprocess
import sys
from pathlib import Path

import pytest

FREEZE = Path(__file__).parent / "contracts" / "freeze.py"


@pytest.mark.parametrize("package", ["dcs-common", "dcs-tok", "dcs-dit", "dcs-eval"])
def test_interface_is_the_frozen_one(package: str) -> None:
    done = subprocess.run(
        [sys.executable, FREEZE, "--check", package], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
