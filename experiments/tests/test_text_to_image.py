"""Table 5, text to image: captions in place of classes, the paper's two data sets, who guides."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from captioned_pictures import CAPTIONS, captioned_options
from finished_run import finished_run
from generator_steps import shrunken, step

from dcs_dit.training.recipes import xl
from dcs_dit.transformers_text import TransformersTextEncoder
from dcs_tok.pictures import write_picture
from launching import Options
from reports.text_to_image import caption_claim, report
from systems.generator_stages import small_generator
from systems.photo_captions import TRAINED
from text_to_image import (
    CACHE_JOBS,
    DATA_SETS,
    EXPERIMENT,
    TEXT_ENCODER,
    TEXT_WIDTH,
    recipe_of,
)
from train_dit import PAPER_SAMPLING, SMALL_MODEL

PAPER = Options(
    preset="paper",
    data=("imagenet", "sa-1b"),
    held_out=("val",),
    labels="captions.csv",
    device="cuda",
)


# ---------------------------------------------------------------- the paper's form


def test_table_5_with_text() -> None:
    recipe = recipe_of(PAPER)
    assert (recipe.model.num_levels, recipe.model.grid, recipe.model.blocks) == (4, (1, 16, 16), 28)
    assert (recipe.training.steps, recipe.training.batch_size) == (200_000, 512)
    assert recipe.model == replace(xl().model, text_width=TEXT_WIDTH)
    assert DATA_SETS == {"imagenet": 256, "sa-1b": 512}


def test_both_data_sets_become_latents_of_one_grid() -> None:
    stages = {stage.name: stage for stage in EXPERIMENT.stages(PAPER)}
    cached = {name: stage for name, stage in stages.items() if name.startswith("cache-")}
    assert len(cached) == sum(CACHE_JOBS.values()) + 1
    for number, (name, pixels) in enumerate(DATA_SETS.items()):
        own = [s.arguments for s in cached.values() if s.arguments["name"] == name]
        assert {a["job"] for a in own} == set(range(CACHE_JOBS[name]))
        for arguments in own:
            assert (arguments["of"], arguments["source"]) == ("train", number)
            assert arguments["settings"]["size"] == pixels
            assert arguments["settings"]["patches"] == 16
            assert "flips" not in arguments["settings"]
    run = stages["train"]
    assert set(run.after) == set(cached)
    assert run.arguments["latents"] == list(DATA_SETS)
    assert run.arguments["text_encoder"] == TEXT_ENCODER
    assert (run.resources.nodes, run.resources.gpus_per_node) == (4, 8)
    assert stages["held-out-paper-seed-0"].arguments["settings"] == PAPER_SAMPLING


def test_a_step_of_the_papers_run_with_captions(encoder: Path) -> None:
    text = TransformersTextEncoder(encoder)
    recipe = shrunken(recipe_of(PAPER), (1, 3, 5))
    model = replace(recipe.model, text_width=text.width, labels=())
    dit = step(replace(recipe, model=model, text_dropout=0), CAPTIONS, text)
    # What attends starts at zero, and so does what follows it; the first steps move that.
    grads = [block.text_attention.out.weight.grad for block in dit.blocks if block.text_attention]
    assert len(grads) == model.blocks
    assert all(grad is not None for grad in grads)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": ("imagenet",)},
            "`--data` must name two sources, ImageNet's pictures and then SA-1B's, which are "
            "encoded at 256 and 512 px, but names 1. Name a folder or zip of each.",
        ),
        (
            {"labels": None},
            "`--preset paper` must be given `--labels`, but it is missing. Name a table with the "
            "columns name, class (which may be empty) and caption, with a row for every picture; "
            "the paper's captions are Qwen2.5-VL's.",
        ),
        (
            {"held_out": ()},
            "`--preset paper` must be given `--held-out`, but it is missing. Name ImageNet's "
            "pictures and SA-1B's, with pictures held out: folders, zips or WebDataset shards "
            "that every node sees. `--plan` needs none.",
        ),
    ],
)
def test_what_the_papers_form_needs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        EXPERIMENT.stages(replace(PAPER, **changes))
    assert str(refusal.value) == message


def test_the_plan_has_captions_beside_the_generator() -> None:
    said = EXPERIMENT.plans["paper"](PAPER)
    assert said.startswith(
        "1 run, 1 times, on 32 devices\n\nxl, text to image: 200000 steps of 512"
    )
    # 4.6 G values of keys and attention in 28 blocks, three times, for 512 captions.
    keys, attention = 2 * 256 * 1152 * 2304, 4 * 256 * 1024 * 1152
    assert f"{3 * 28 * (keys + attention) * 512:.3g} FLOPs a step at most" in said
    assert "Latents of 12.3 M pictures in float16: 375 GiB, by 288 jobs of one GPU." in said
    assert EXPERIMENT.plans["tiny"](Options(seeds=2)).startswith("1 run, 2 times, on 1 devices\n")


# ---------------------------------------------------------------- the report


def measured(share: float, unseen: float) -> dict[str, Any]:
    samples = {
        f"{wording}-{setting}-seed-4": {
            "1": {"frechet": 0.5, "recognised": 0.0},
            "2": {"frechet": 0.25, "recognised": value if setting == "paper" else 0.5},
        }
        for wording, value in (("trained", share), ("unseen", unseen))
        for setting in ("paper", "unguided")
    }
    real = {"frechet": 0.1, "recognised": 1.0}
    return {"space": "colours-4x4", "samples": samples, "real": real, "count": 6, "reference": 6}


@pytest.mark.parametrize(
    ("second", "verdict"),
    [(0.75, "reproduced in sign"), (0.05, "not testable here")],
)
def test_captions_guide_if_they_do_for_every_seed(second: float, verdict: str) -> None:
    claim = caption_claim([measured(0.75, 0.5), measured(second, 0.5)])
    assert (claim.key, claim.verdict) == ("captions-guide", verdict)
    assert claim.ours.endswith(
        "% of samples recognised as what their caption names (chance 10); 50 ± 0 by a wording "
        "never trained on; held-out pictures 100"
    )
    assert caption_claim([measured(0.05, 0.5)]).verdict == "not reproduced"


def test_captions_that_come_with_data_have_a_chance_of_a_half() -> None:
    samples = {"held-out-paper-seed-0": {"1": {"frechet": 1.0, "recognised": None, "matched": 0.4}}}
    found = {"space": "colours-4x4", "samples": samples, "count": 5, "reference": 5}
    claim = caption_claim([found])
    assert claim.verdict == "not reproduced"
    assert claim.ours == (
        "40 % of pairs nearer to the own caption's picture than to another's (chance 50)"
    )


def write_samples(folder: Path, names: list[str], levels: int) -> None:
    for level in range(1, levels + 1):
        for name in names:
            path = folder / f"level-{level}" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(path, torch.rand(3, 16, 16))


LOG = (
    '{"step": 10, "loss/generator": 2.0}\n'
    '{"step": 20, "validation/squared_level_1": 1.5, "validation/squared_level_2": 1.8}\n'
)


def test_the_report_of_photos(tmp_path: Path) -> None:
    results = {"train": {}, "measure-seed-0": measured(0.75, 0.5)}
    run = finished_run(tmp_path, EXPERIMENT, Options(), results)
    (run.folder_of("train") / "run").mkdir()
    (run.folder_of("train") / "run" / "scalars.jsonl").write_text(LOG)
    for wording in ("trained", "unseen"):
        names = [f"{photo}/{i:05d}" for photo in TRAINED for i in range(6)]
        write_samples(tmp_path / "samples" / f"{wording}-paper-seed-0", names, 2)
    found = report(run)
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    assert rows["wordings of training, guidance 6 from 0.1"] == ("0", "75")
    assert rows["chance"] == ("10", "10")
    assert [picture.name for picture in found.pictures] == ["samples"]


def test_the_report_of_data(tmp_path: Path) -> None:
    options = captioned_options(tmp_path / "given", {f"{i}.png": f"number {i}" for i in range(5)})
    values = {"frechet": 1.0, "recognised": None, "matched": 0.75}
    samples = {f"held-out-{name}-seed-0": {"1": values} for name in ("paper", "unguided")}
    results = {
        "train": {},
        "measure-seed-0": {"space": "x", "samples": samples, "count": 5, "reference": 5},
    }
    run = finished_run(tmp_path / "run", EXPERIMENT, options, results)
    (run.folder_of("train") / "run").mkdir()
    (run.folder_of("train") / "run" / "scalars.jsonl").write_text(LOG)
    names = [f"{i:05d}" for i in range(5)]
    write_samples(run.run / "samples" / "held-out-paper-seed-0", names, 1)
    found = report(run)
    assert found.tables[0].rows[0] == ("captions held out, guidance 6 from 0.1", "75.0")
    assert found.claims[0].verdict == "reproduced in sign"


def test_the_small_form_trains_as_train_dit_does() -> None:
    small = recipe_of(Options())
    alike = small_generator(0, steps=small.training.steps, **SMALL_MODEL)
    assert replace(small.model, text_width=None) == alike.model
    assert small.training == alike.training
