"""Experiments are scripts: their folder comes first on the path, as it does when one is run."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "toys")]
