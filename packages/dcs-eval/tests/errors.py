"""Whole messages: requirement, value and remedy, word for word."""

import re
from typing import Any

import pytest


def error(message: str) -> Any:
    """Expect a ValueError that says exactly this."""
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")
