"""Settings of the tests of dcs-tok, and the command that many of them run."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from .commands import Command

# The same examples in every run. `--hypothesis-profile=search` draws new ones, and more.
_ALWAYS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "database": None}
settings.register_profile("fixed", max_examples=20, derandomize=True, **_ALWAYS)
settings.register_profile("search", max_examples=200, print_blob=True, **_ALWAYS)
settings.load_profile("fixed")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """``dcs-tok`` in a folder whose contents are watched."""
    return Command(capsys, tmp_path)
