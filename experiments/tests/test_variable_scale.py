"""Figure 9: agreement of decodes, what they are compared with, and the verdicts."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from dcs_common.psnr import psnr
from dcs_common.resample import resize
from launching import Options
from reports.variable_scale import detail_ratios, over_own_error, report
from scaling.agreement import (
    EXACT,
    blended_frames,
    rate_agreement,
    repeated_frames,
    size_agreement,
)
from scaling.sheet import column, grid, row
from variable_scale import generate_shapes


def moving(frames: int, fps: int) -> Tensor:
    """A clip (1, 3, T, 5, 7) whose values grow linearly in time and end with 1."""
    time = 1 - torch.arange(frames - 1, -1, -1).double() / fps
    return time.view(1, 1, -1, 1, 1).expand(1, 3, -1, 5, 7)


def test_sizes_are_compared_at_the_smaller_one() -> None:
    large = torch.rand(1, 3, 24, 36, generator=torch.Generator().manual_seed(0))
    small = resize(large, (8, 12), alignment="center")
    assert size_agreement(large, small) == size_agreement(small, large) == EXACT
    off = (small + 0.1).double()
    assert size_agreement(off, large.double()) == pytest.approx(20, abs=1e-4)


def test_rates_are_compared_over_the_frames_that_both_show() -> None:
    fast, slow = moving(12, 48), moving(6, 24)
    assert rate_agreement(fast, 48, slow, 24) == EXACT
    assert rate_agreement(slow, 24, fast + 0.01, 48) == pytest.approx(40, abs=1e-6)
    # 10 and 15 fps share every second frame of the slower one.
    assert rate_agreement(moving(10, 10), 10, moving(15, 15), 15) == EXACT
    assert rate_agreement(moving(10, 10), 10, moving(14, 14), 14) == EXACT
    shifted = torch.cat([slow[:, :, :1], slow[:, :, :-1]], dim=2)
    assert rate_agreement(fast, 48, shifted, 24) < 40


def test_blending_is_exact_for_steady_motion_and_repeating_is_not() -> None:
    slow, fast = moving(6, 24), moving(12, 48)
    blended = blended_frames(slow, 24, 48)
    assert blended.shape == fast.shape
    torch.testing.assert_close(blended[:, :, 1:], fast[:, :, 1:])  # before the first, it is held
    repeated = repeated_frames(slow, 24, 48)
    assert repeated.shape == fast.shape
    assert psnr(repeated, fast) < 45
    torch.testing.assert_close(blended_frames(fast, 48, 24), slow)


def test_sheets_hold_pictures_unchanged() -> None:
    small, large = torch.rand(3, 4, 5), torch.rand(3, 7, 6)
    side_by_side = row([small, large], gap=2)
    assert side_by_side.shape == (3, 7, 13)
    assert torch.equal(side_by_side[:, :4, :5], small)
    assert torch.equal(side_by_side[:, :, 7:], large)
    assert bool((side_by_side[:, 4:, :7] == 1).all())
    assert column([small, large], gap=2).shape == (3, 13, 6)
    assert grid([small] * 5, 2, gap=1).shape == (3, 3 * 4 + 2, 11)


@pytest.mark.filterwarnings("ignore:This model was trained on a grid")
def test_the_noises_shape_is_the_samples_shape(tmp_path: Path) -> None:
    context: Any = SimpleNamespace(device="cpu", folder=tmp_path)
    found = generate_shapes(
        context,
        generator="dcs-dit-nano",
        tokenizer="dcs-tok-nano-gen",
        grids=[[2, 2], [2, 4], [3, 1]],
        labels=[0, 4],
        levels=1,
        seed=0,
        sizes=[1.0, 2.0],
    )
    assert [one["size"] for one in found["rows"]] == [[64, 64], [64, 128], [96, 32]]
    assert [one["size"] for one in found["agreements"]] == [[128, 128]]
    assert all(len(one["detail"]) == 2 for one in found["rows"])
    shown = torch.load(tmp_path / "shapes.pt", weights_only=True)
    assert [tuple(one.shape) for one in shown] == [(2, 3, 64, 64), (2, 3, 64, 128), (2, 3, 96, 32)]


# ---------------------------------------------------------------------- the verdicts


def made_up(tmp_path: Path, *, agreement: float, wide: tuple[int, int] = (128, 256)) -> Any:
    """Return a context whose decodes agree to so many dB, and have an error of 30 dB."""

    def rows(scale: str, scales: tuple[int, ...], source: int, *baselines: str) -> Any:
        found = []
        for i, name in enumerate("abcd"):
            for one in scales:
                values = {"sample": name, scale: one, "own": 30.0 + i, "decoded": 28.0 + i}
                values |= {baseline: 28.5 + 1.1 * i for baseline in baselines}
                if one != source:
                    values["agreement"] = agreement + 1.1 * i
                found.append(values)
        return {"rows": found}

    shapes = [
        {"grid": [4, 4], "size": [128, 128], "detail": [0.02, 0.01], "halves": [12.0, 13.0]},
        {"grid": [4, 8], "size": list(wide), "detail": [0.03, 0.01], "halves": [12.0, 15.0]},
        {"grid": [8, 4], "size": [256, 128], "detail": [0.02, 0.02], "halves": [11.0, 13.0]},
    ]
    results = {
        "decode-sizes": rows("size", (128, 256, 512), 256, "resized"),
        "decode-rates": rows("rate", (12, 24, 48), 24, "repeated", "blended"),
        "generate-shapes": {
            "rows": shapes,
            "agreements": [{"size": [256, 256], "agreement": [40.0, 41.0]}],
        },
    }
    pictures = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 3
    batches = [torch.zeros(2, 3, 8, 8, dtype=torch.uint8)] * 3
    clips = [torch.zeros(3, 9, 8, 8, dtype=torch.uint8)] * 3
    torch.save(pictures, tmp_path / "sizes.pt")
    torch.save(pictures, tmp_path / "generated-sizes.pt")
    torch.save(batches, tmp_path / "shapes.pt")
    torch.save(clips, tmp_path / "rates.pt")
    return SimpleNamespace(
        result=results.__getitem__, folder_of=lambda stage: tmp_path, options=Options()
    )


@pytest.mark.parametrize(
    ("agreement", "verdict"), [(33.0, "reproduced in sign"), (26.0, "not reproduced")]
)
def test_scales_must_differ_less_than_the_latent_from_its_source(
    tmp_path: Path, agreement: float, verdict: str
) -> None:
    found = report(made_up(tmp_path, agreement=agreement))
    assert [claim.verdict for claim in found.claims] == [verdict, verdict, "reproduced in sign"]
    assert [picture.name for picture in found.pictures] == [
        "sizes",
        "rates",
        "generated-sizes",
        "shapes",
    ]


def test_another_shape_than_the_noises_is_not_the_claim(tmp_path: Path) -> None:
    found = report(made_up(tmp_path, agreement=33.0, wide=(128, 128)))
    assert found.claims[2].verdict == "not reproduced"


def test_agreement_is_held_against_the_own_error_of_each_sample(tmp_path: Path) -> None:
    context = made_up(tmp_path, agreement=33.0)
    above = over_own_error(context.result("decode-sizes")["rows"], "size")
    assert set(above) == {128, 512}
    assert above[512].mean == pytest.approx(3 + 0.1 * 1.5)
    (wide, tall) = detail_ratios(context.result("generate-shapes")["rows"])
    assert (wide.mean, tall.mean) == (pytest.approx(1.25), pytest.approx(1.5))


def test_equal_frames_are_called_identical(tmp_path: Path) -> None:
    context = made_up(tmp_path, agreement=33.0)
    for values in context.result("decode-rates")["rows"]:
        if "agreement" in values:
            values["agreement"] = EXACT
    found = report(context)
    assert "identical (0 difference)" in found.claims[1].ours
    assert found.claims[1].verdict == "reproduced in sign"
    cells = [line[1] for line in found.tables[1].rows]
    assert cells == ["identical", "–", "identical"]
    assert replace(found.claims[1], ours="0").source == "Fig. 9b"
