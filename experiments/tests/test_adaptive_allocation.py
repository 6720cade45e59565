"""Figure 11: levels spent where they gain, at a budget that no map exceeds, and the verdicts."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adaptive_allocation import allocate
from dcs_tok.pictures import write_picture
from launching import Options
from reports.adaptive_allocation import gain, report

METHODS = ["entropy", "greedy", "predicted"]
ASKED: dict[str, Any] = {
    "model": "dcs-tok-nano",
    "methods": METHODS,
    "average": 2,
    "least": 1,
    "most": 3,
    "side": 48,
    "pictures": 9,
}


def context_of(folder: Path, count: int) -> Any:
    """Return a context whose photos are flat at the left and busy at the right."""
    photos = folder / "photos"
    photos.mkdir()
    for i in range(count):
        pixels = torch.full((3, 48, 60), 0.2 + 0.1 * i)
        busy = torch.rand(3, 12, 8, generator=torch.Generator().manual_seed(i))
        pixels[:, :, 28:] = torch.nn.functional.interpolate(busy[None], (48, 32))[0]
        write_picture(photos / f"{i}.png", pixels)
    return SimpleNamespace(device="cpu", folder=folder, options=Options(held_out=(str(photos),)))


def test_levels_go_where_they_gain_and_never_beyond_the_budget(tmp_path: Path) -> None:
    found = allocate(context_of(tmp_path, 4), **ASKED)
    assert found["methods"] == METHODS
    for row in found["rows"]:
        for method in METHODS:
            assert row[method]["levels"] <= 2
            assert row[method]["psnr"] > row["uniform"]["psnr"]
        assert row["uniform"]["levels"] == 2
    maps = torch.load(tmp_path / "maps.pt", weights_only=True)
    assert set(maps) == {"0", "1", "2", "3"}
    for one in maps.values():
        assert one["levels"].shape == (3, 16, 16)
        left, right = one["levels"][..., :4].double(), one["levels"][..., -4:].double()
        assert bool((right.mean(dim=(1, 2)) > left.mean(dim=(1, 2)) + 0.5).all())


def test_three_photos_are_too_few(tmp_path: Path) -> None:
    message = (
        "At least 4 photos must have 48 px or more on the short side, but 3 have. Name folders of "
        "larger ones with `--held-out`."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        allocate(context_of(tmp_path, 3), **(ASKED | {"methods": ["entropy"]}))


def made_up(tmp_path: Path, entropy: float, greedy: float) -> Any:
    """Return a context whose allocations gain so many dB, up to a hundredth of one."""
    rows = []
    for i, name in enumerate("abcde"):
        base = 25.0 + 2 * i
        gains = {"uniform": 0.0, "entropy": entropy + 0.01 * i, "greedy": greedy + 0.02 * i}
        rows.append(
            {"sample": name}
            | {key: {"psnr": base + more, "levels": 2.0} for key, more in gains.items()}
        )
    one = {
        "picture": torch.zeros(3, 32, 32, dtype=torch.uint8),
        "levels": torch.randint(1, 4, (2, 8, 8), generator=torch.Generator().manual_seed(0)),
    }
    torch.save({name: one for name in "abcde"}, tmp_path / "maps.pt")
    results = {"allocate": {"rows": rows, "methods": ["entropy", "greedy"]}}
    return SimpleNamespace(result=results.__getitem__, folder_of=lambda stage: tmp_path)


@pytest.mark.parametrize(
    ("entropy", "greedy", "verdicts"),
    [
        (0.5, 0.9, ["reproduced in sign"] * 2),
        (-0.02, 0.9, ["not testable here", "reproduced in sign"]),
        (-0.5, 0.1, ["not reproduced", "reproduced in sign"]),
        (0.5, 0.1, ["reproduced in sign"]),
    ],
)
def test_a_gain_is_one_beyond_its_interval(
    tmp_path: Path, entropy: float, greedy: float, verdicts: list[str]
) -> None:
    found = report(made_up(tmp_path, entropy, greedy))
    assert [claim.verdict for claim in found.claims] == verdicts
    assert found.tables[0].rows[1][4] == "34.99 (+0.74)"


def test_gains_are_paired_by_photo(tmp_path: Path) -> None:
    rows = made_up(tmp_path, 0.5, 0.9).result("allocate")["rows"]
    found = gain(rows, "entropy")
    assert found.mean == pytest.approx(0.52)
    assert found.half_width == pytest.approx(2.776445 * 0.0158114 / 5**0.5, rel=1e-4)
