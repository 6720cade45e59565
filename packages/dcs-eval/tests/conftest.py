"""Settings of the tests of dcs-eval, and pictures for them."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from dcs_common.resample import resize
from dcs_eval.eight_bit import to_image

# The same examples in every run. `--hypothesis-profile=search` draws new ones, and more.
settings.register_profile("fixed", max_examples=40, derandomize=True, deadline=None, database=None)
settings.register_profile("search", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("fixed")


def photograph(seed: int = 0, height: int = 61, width: int = 83) -> Tensor:
    """Return (1, 3, H, W) with detail of every size, as photographs have, in 8-bit steps."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        resize(torch.rand(1, 3, side, side, generator=generator) - 0.5, (height, width)) / side**0.5
        for side in (2, 5, 11, 23, 47)
    ]
    return (0.5 + 0.8 * sum(layers)).clamp(0, 1).mul(255).round() / 255


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two pictures of different sizes, and what is no picture."""
    place = tmp_path / "pictures"
    place.mkdir()
    to_image(photograph(0)).save(place / "first.png")
    to_image(photograph(1, 53, 67)).save(place / "second.png")
    (place / "notes.txt").write_text("no picture")
    return place
