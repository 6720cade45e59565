"""Table 2: 2048 clips of 101 classes, the paper's run on clips, and what moves."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_run import finished_run
from generator_steps import shrunken, step

import ucf101_system
from dcs_eval.labelled_files import find_labelled
from dcs_tok.clips import write_clip
from launching import Context, Options
from reports.ucf101_system import report
from systems.clip_measures import LOOKED_AT, frames_of, motion
from ucf101_system import EXPERIMENT, PAPER_MODEL, SEGMENTS, choose, paper_recipe

PAPER = Options(
    preset="paper", data=("train",), held_out=("test",), device="cuda", feature_weights="i3d"
)


def test_the_samples_of_all_jobs_are_2048_of_101_classes() -> None:
    stages = {stage.name: stage for stage in EXPERIMENT.stages(PAPER)}
    for name in ("unguided", "guided"):
        counts = [s.arguments["counts"] for n, s in stages.items() if n.startswith(f"{name}.")]
        drawn = Counter(
            (label, number)
            for c in counts
            for label in range(c.get("classes", 101))
            for number in range(c["first"], c["first"] + c["count"])
        )
        assert len(drawn) == sum(drawn.values()) == 2048
        assert {number for _, number in drawn} == set(range(21))


def test_the_latents_are_1024_tokens_of_one_level() -> None:
    for options in (PAPER, Options()):
        stages = {stage.name: stage for stage in EXPERIMENT.stages(options)}
        cached = next(stage for name, stage in stages.items() if name.startswith("cache-train"))
        settings = cached.arguments["settings"]
        assert (settings["levels"], settings["fps"]) == (1, 24)
        assert round(settings["seconds"] * settings["fps"]) == 16
        # Six segments a second: 16 frames at 24 fps are 4.
        assert SEGMENTS == 6 * 16 / 24
        assert stages["train"].arguments["model"]["grid"][0] == SEGMENTS
        assert settings["patches"] == stages["train"].arguments["model"]["grid"][1]
    assert torch.tensor(PAPER_MODEL["grid"]).prod() == 1024


def test_a_step_of_the_papers_run_on_clips() -> None:
    recipe = paper_recipe()
    assert (recipe.model.fps, recipe.model.num_levels) == (24, 1)
    assert (recipe.training.steps, recipe.training.batch_size) == (200_000, 512)
    dit = step(shrunken(recipe, (4, 2, 3)))
    assert any(p.grad is not None and p.grad.any() for p in dit.parameters())


# ---------------------------------------------------------------- the reference


def held_out(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / ("jump", "walk")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not opened")
    return folder


def test_the_reference_is_spread_over_what_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ucf101_system, "check_model", lambda *_: None)
    monkeypatch.setattr(ucf101_system, "REFERENCE", 5)
    clips = held_out(tmp_path / "test", 10)
    options = replace(PAPER, data=(str(clips),), held_out=(str(clips),))
    context = Context(stage="prepare", run=tmp_path / "run", options=options)
    assert choose(context) == choose(context) == {"chosen": 5, "of": 10, "classes": 2}
    chosen = find_labelled([tmp_path / "run" / "reference"], media="clip")
    assert [file.name for file in chosen.files] == [
        *("jump/0.mp4", "jump/4.mp4", "jump/8.mp4", "walk/3.mp4", "walk/7.mp4")
    ]
    assert chosen.content(chosen.files[0]) == b"not opened"
    with pytest.raises(ValueError) as caught:
        monkeypatch.setattr(ucf101_system, "REFERENCE", 11)
        choose(context)
    assert str(caught.value) == (
        "Table 2 takes 11 real clips, but those held out are 10. Name more with `--held-out`, in "
        "folders of files."
    )
    with pytest.raises(ValueError, match=r"^FVD needs the weights of I3D, but `--feature-w"):
        choose(replace(context, options=replace(options, feature_weights=None)))


# ---------------------------------------------------------------- clips


def test_motion_is_the_mean_step_of_grey_levels(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    ramp = torch.linspace(0.2, 0.8, 16).view(1, 16, 1, 1).expand(3, 16, 16, 16)
    write_clip(tmp_path / "clips" / "ramp.mp4", ramp, 24)
    write_clip(tmp_path / "clips" / "still.mp4", torch.full((3, 16, 16, 16), 0.5), 24)
    files = find_labelled([tmp_path / "clips"], media="clip")
    # The ramp steps by 0.04, the other not at all.
    assert motion(files) == pytest.approx(255 * 0.04 / 2, rel=0.1)
    pictures = torch.cat(list(frames_of(files).pictures))
    assert pictures.shape == (2 * len(LOOKED_AT), 3, 16, 16)
    assert pictures[:4, 0, 0, 0].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=0.02)


# ---------------------------------------------------------------- the report


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({}, ["reproduced in sign"] * 2),
        ({"psnr": 27.9}, ["not reproduced", "reproduced in sign"]),
        ({"rfvd": 20.0}, ["not reproduced", "reproduced in sign"]),
        ({"guided": 97.0}, ["reproduced in sign", "not reproduced"]),
    ],
)
def test_the_papers_own_figures_give_its_verdicts(
    tmp_path: Path, changes: dict[str, float], verdicts: list[str]
) -> None:
    found: dict[str, Any] = {"psnr": 28.55, "rfvd": 17.51, "guided": 86.87} | changes
    results = {
        "rfvd": {"values": [{"psnr": found["psnr"], "ssim": 0.9, "frechet": found["rfvd"]}]},
        "gfvd-unguided": {"values": [{"frechet": 452.99}]},
        "gfvd-guided": {"values": [{"frechet": found["guided"]}]},
    }
    context = finished_run(tmp_path, EXPERIMENT, PAPER, results)
    claims = report(context).claims
    assert [claim.verdict for claim in claims] == verdicts
    assert [claim.key for claim in claims] == ["ucf101-reconstruction", "ucf101-generation"]
