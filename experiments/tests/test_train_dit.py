"""Table 5: the paper's numbers, a step of it, and what samples of all levels are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_run import finished_run
from generator_steps import shrunken, step

from costs.paper_scale import check_model
from dcs_dit import DCSDiT
from dcs_dit.training.recipes import xl
from dcs_tok.pictures import read_picture
from launching import Context, Options
from launching.context import Unfinished
from reports.train_dit import guidance_claim, settings_table, validation_curves
from systems import generator_stages, sampling_stages
from systems.generator_stages import paper_generator, small_generator
from train_dit import CACHE_JOBS, EXPERIMENT, PAPER_SAMPLING, SAMPLING, SMALL_MODEL, recipe_of

PAPER = Options(preset="paper", data=("data",), held_out=("val",), device="cuda")


def test_table_5() -> None:
    recipe = recipe_of(PAPER)
    assert (recipe.model.num_levels, recipe.model.grid) == (4, (1, 16, 16))
    assert (recipe.training.steps, recipe.training.batch_size) == (200_000, 512)
    assert recipe.training.optimizer.learning_rate == 1e-4
    assert recipe.training.optimizer.betas == (0.9, 0.95)
    assert (recipe.level_weights, recipe.direction_weight) == ("linear", 1)
    assert PAPER_SAMPLING == {
        "steps": 50,
        "guidance_scale": 6.0,
        "guidance_interval": [0.1, 1.0],
    }
    assert replace(recipe, training=xl().training) == xl()


def test_the_small_form_has_the_papers_losses() -> None:
    small, paper = small_generator(1, steps=7, **SMALL_MODEL), paper_generator(1)
    for part in ("level_weights", "direction_weight", "label_dropout", "levels"):
        assert getattr(small, part) == getattr(paper, part)
    assert (small.training.seed, small.training.steps) == (1, 7)
    # What came through JSON has no tuples, and a config must have them.
    assert small.model.grid == (1, 4, 4)


def test_each_way_of_sampling_differs_from_the_papers_in_one_setting() -> None:
    for name, settings in SAMPLING.items():
        changed = {key for key in settings if settings[key] != PAPER_SAMPLING[key]}
        assert len(changed) == (name != "paper"), name


def test_runs_wait_for_all_latents() -> None:
    for options, jobs in ((Options(seeds=2), 1), (PAPER, CACHE_JOBS)):
        stages = {stage.name: stage for stage in EXPERIMENT.stages(options)}
        cached = {name for name in stages if name.startswith("cache-train")}
        assert len(cached) == jobs
        assert set(stages["train"].after) == {*cached, "cache-held-out"}
        shares = {
            (s.arguments["job"], s.arguments["jobs"]) for n, s in stages.items() if n in cached
        }
        assert shares == {(job, jobs) for job in range(jobs)}
    assert (stages["train"].resources.nodes, stages["train"].resources.gpus_per_node) == (4, 8)


# ---------------------------------------------------------------- a step of the paper's run


def test_a_step_of_the_papers_run() -> None:
    dit = step(shrunken(paper_generator(0), (1, 3, 5)))
    assert any(p.grad is not None and p.grad.any() for p in dit.parameters())


# ---------------------------------------------------------------- samples


@pytest.fixture
def sampled(tmp_path: Path) -> Context:
    """A run whose generator is new; what it draws is noise, but the same noise."""
    torch.manual_seed(2)
    config = replace(
        small_generator(0, steps=1, **SMALL_MODEL).model,
        **{"width": 16, "heads": 2, "blocks": 1, "labels": ("bee", "owl")},
        tokenizer_model="dcs-tok-nano-gen",
    )
    dit = DCSDiT(config)
    torch.nn.init.normal_(dit.latent_std, 3.0, 0.1)
    run = finished_run(tmp_path, EXPERIMENT, Options(), {"train": {}})
    dit.save_pretrained(run.folder_of("train") / "run" / "model")
    return run


def test_samples_of_all_levels_begin_as_those_of_fewer_do(sampled: Context) -> None:
    stage = replace(sampled, stage="paper-seed-0")
    settings = {"steps": 2, "guidance_scale": 1.0}
    arguments: dict[str, Any] = {"model": "train", "batch_size": 3, "seed": 0}
    said = sampling_stages.sample_levels(stage, count=2, settings=settings, **arguments)
    assert said == {"samples": 4, "levels": 3}
    folder = sampled.run / "samples" / "paper-seed-0"
    names = [path.relative_to(folder / "level-1") for path in (folder / "level-1").rglob("*.png")]
    assert sorted(map(str, names)) == [f"{c}/0000{i}.png" for c in ("bee", "owl") for i in (0, 1)]
    pictures = {
        level: read_picture(folder / f"level-{level}" / "bee" / "00000.png").pixels
        for level in (1, 2, 3)
    }
    assert not torch.equal(pictures[1], pictures[2])
    # One level alone, of the same seeds, is what three levels have for their first.
    stage = replace(sampled, stage="unguided-seed-0")
    one = {"steps": 2, "guidance_scale": 1.0, "levels": 1}
    sampling_stages.sample_levels(stage, count=1, settings=one, **arguments)
    alone = sampled.run / "samples" / "unguided-seed-0" / "level-1" / "bee" / "00000.png"
    difference = (read_picture(alone).pixels - pictures[1]).abs().max()
    assert difference <= 1.5 / 255


def test_training_that_is_stopped_goes_on_later(
    sampled: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped:
        finished, step = False, 3

    monkeypatch.setattr("dcs_dit.training.run.train_generator", lambda *_: Stopped())
    with pytest.raises(Unfinished, match=r"^at step 3 of 9$"):
        generator_stages.train(sampled, size="small", seed=0, steps=9, model=SMALL_MODEL)


def test_a_model_of_another_experiment_must_be_there() -> None:
    check_model("dcs-tok-nano", "train_tokenizer")
    with pytest.raises(ValueError) as caught:
        check_model("runs/nowhere/model", "train_tokenizer")
    assert str(caught.value) == (
        "The model must be there, but runs/nowhere/model is not. Run `python "
        "experiments/train_tokenizer.py --preset paper` first, from the same folder."
    )


# ---------------------------------------------------------------- the report


def measured(unguided: float, guided: float) -> dict[str, Any]:
    values = {"unguided": unguided, "paper": guided, "guidance-2": guided}
    return {
        "space": "colours-4x4",
        "samples": {
            f"{name}-seed-4": {"1": {"frechet": value, "recognised": 0.5 + value}}
            for name, value in values.items()
        },
    }


@pytest.mark.parametrize(
    ("guided", "verdict"), [(0.125, "reproduced in sign"), (0.375, "not reproduced")]
)
def test_guidance_helps_if_it_does_for_every_seed(guided: float, verdict: str) -> None:
    claim = guidance_claim([measured(0.25, 0.125), measured(0.25, guided)])
    assert claim.verdict == verdict
    assert claim.ours.startswith("distance on colours-4x4 0.250 ± 0.000 without (75 ")


def test_curves_are_read_from_the_log() -> None:
    log = [
        {"step": 10, "loss/generator": 2.0},
        {"step": 20, "validation/squared_level_2": 1.5, "validation/squared_level_1": 1.0},
        {"step": 40, "validation/squared_level_1": 0.5, "validation/squared_level_2": 1.25},
    ]
    assert validation_curves(log) == {1: {20: 1.0, 40: 0.5}, 2: {20: 1.5, 40: 1.25}}
    rows = {row[0]: row[1:] for row in settings_table(log).rows}
    assert rows["steps"] == (200_000, 40)
    assert json.dumps(rows["levels"]) == "[4, 3]"
