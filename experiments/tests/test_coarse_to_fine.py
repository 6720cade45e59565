"""Figures 5 and 10: what level by level costs, and the verdicts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from coarse_to_fine import measure_cost, preview
from dcs_dit import DCSDiT
from dcs_dit.sampling.request import make_request
from reports.coarse_to_fine import flop_ratio, preview_share, report, time_ratio
from scaling.generation_cost import counted_flops, joint_flops, joint_run, recompute_factor

pytestmark = pytest.mark.filterwarnings("ignore:This model was trained on a grid")

SETTING = {"grid": [2, 3], "levels": 3, "samples": 2, "steps": 2, "repeats": 2}


@pytest.fixture
def context(tmp_path: Path) -> Any:
    return SimpleNamespace(device="cpu", folder=tmp_path)


def test_counted_flops_are_those_of_the_matrices() -> None:
    dit = DCSDiT.from_pretrained()
    asked = {"grid": (3, 5), "levels": 4, "steps": 3, "seeds": [1, 2], "labels": [0, 1]}
    counted = counted_flops(lambda: joint_run(dit, asked))
    assert joint_flops(dit, make_request(dit, **asked)) == pytest.approx(counted, rel=1e-3)
    fewer = asked | {"guidance_scale": 1.0}
    assert counted_flops(lambda: joint_run(dit, fewer)) < 0.65 * counted


def test_level_by_level_costs_and_gives_the_same(context: Any) -> None:
    found = measure_cost(context, model="dcs-dit-nano", cache="device", **SETTING)
    assert flop_ratio(found) == pytest.approx(1, abs=1e-3)
    assert found["difference"] < 1e-3 * found["deviation"]
    assert len(found["seconds"]) == 2
    for levels, whole in found["seconds"]:
        assert len(levels) == 3 and whole > 0
        assert levels == sorted(levels)
    t, tokens, width, blocks = 2, 2 * 2 * 6 * 2, 256, 6  # of two levels; step 2 is guided
    assert found["cache MiB"] * 2**20 == tokens * blocks * t * width * 4 * 3 / 2


def test_without_a_cache_lower_levels_are_computed_again(context: Any) -> None:
    found = measure_cost(context, model="dcs-dit-nano", cache="recompute", **SETTING)
    assert recompute_factor(3) == 2
    assert flop_ratio(found) == pytest.approx(2, rel=0.05)
    assert found["difference"] < 1e-3 * found["deviation"]
    assert found["cache MiB"] == 0


def test_previews_are_kept_level_by_level(context: Any) -> None:
    found = preview(
        context, generator="dcs-dit-nano", tokenizer="dcs-tok-nano-gen", labels=[0, 4], steps=1
    )
    assert found == {"labels": ["tench", "church"], "levels": 6}
    shown = torch.load(context.folder / "previews.pt", weights_only=True)
    assert shown.shape == (6, 2, 3, 128, 128)


# ---------------------------------------------------------------------- the verdicts


def made_up(tmp_path: Path, *, time: float = 1.02, flops: float = 1.0, off: float = 0.0) -> Any:
    """Return a context whose progressive runs take so many times the joint ones."""
    cost = {
        "cache": "device",
        "grid": [16, 16],
        "levels": 2,
        "samples": 2,
        "steps": 4,
        "seconds": [[[0.4 * t, time * t], t] for t in (1.0, 1.1, 1.3)],
        "flops": {"joint": 1e9, "progressive": flops * 1e9, "joint, from matrices": 1e9},
        "difference": off,
        "deviation": 2.0,
        "cache MiB": 3.0,
    }
    results = {
        "cost-16x16-device": cost,
        "cost-16x16-recompute": cost | {"cache": "recompute"},
        "previews": {"labels": ["tench", "church"], "levels": 2},
    }
    torch.save(torch.zeros(2, 2, 3, 8, 8, dtype=torch.uint8), tmp_path / "previews.pt")
    return SimpleNamespace(
        stages=tuple(results),
        result=results.__getitem__,
        folder_of=lambda stage: tmp_path,
        device="cpu",
    )


@pytest.mark.parametrize(
    ("change", "lost"),
    [({}, None), ({"flops": 1.01}, 0), ({"time": 1.3}, 1), ({"off": 0.01}, 2), ({"time": 0.5}, 3)],
)
def test_each_verdict_follows_from_its_own_figure(
    tmp_path: Path, change: dict[str, float], lost: int | None
) -> None:
    verdicts = [claim.verdict for claim in report(made_up(tmp_path, **change)).claims]
    expected = ["reproduced in sign"] * 4
    if lost is not None:
        expected[lost] = "not reproduced"
    assert verdicts == expected


def test_ratios_are_of_runs_in_turn(tmp_path: Path) -> None:
    measured = made_up(tmp_path).result("cost-16x16-device")
    assert time_ratio(measured).mean == pytest.approx(1.02)
    assert time_ratio(measured).half_width == pytest.approx(0, abs=1e-12)
    assert preview_share(measured).mean == pytest.approx(0.4 / 1.02)
