"""Experiments are scripts: their folder comes first on the path, as it does when one is run."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "toys")]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small text encoder that knows the toys' captions and "a fox"."""
    from captioned_pictures import CAPTIONS

    from systems.small_text_encoder import write_text_encoder

    folder = tmp_path_factory.mktemp("encoder")
    write_text_encoder(folder, [*CAPTIONS, "a fox"])
    return folder
