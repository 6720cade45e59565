"""Figure 15: what each level encodes, with and without tokens dropped in training.

    python experiments/ablation_token_drop.py
    python experiments/ablation_token_drop.py --preset paper --data IMAGENET --held-out VAL

Two runs that differ in one thing: whether a sample keeps m levels with p_m (Sec. 3.3), or all of
them always. The distortion of m levels is what they leave of the source, the residual of level m
what it changes.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ablations.level_maps import complexity_gain, level_maps, levels_at_work, overlap
from ablations.level_measures import held_out_crops, mean_psnr
from ablations.small_tokenizer import SIZE, small_recipe
from costs.paper_scale import MODELS, TRAINING, paper_data
from costs.training_plans import tokenizer_plan
from dcs_tok import DCSTok
from dcs_tok.training.recipe import LevelSampling, LossWeights, Recipe
from dcs_tok.training.recipes import stage_1
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.ablation_token_drop import report
from sources.photos import photo_paths
from systems.tokenizer_runs import run_tokenizer

__all__ = ["EXPERIMENT", "measure", "report", "train"]

MODES = ("drop", "keep")
STEPS = 400


def levels_of(mode: str, base: LevelSampling) -> LevelSampling:
    """Return how levels are drawn: as ``base`` has it, or all of them always."""
    return base if mode == "drop" else replace(base, full_share=1.0)


def tiny_recipe(mode: str, seed: int, *, steps: int = STEPS) -> Recipe:
    """Return a small run: L2 alone, on 64 px crops."""
    return small_recipe(
        f"ablation-token-drop {mode}",
        LossWeights(),
        seed=seed,
        steps=steps,
        levels=levels_of(mode, LevelSampling(draw="sample")),
    )


def paper_recipe(mode: str, seed: int) -> Recipe:
    """Return the run at the paper's size: stage 1, 4 levels, which Fig. 15 shows."""
    recipe = stage_1()
    return replace(
        recipe,
        name=f"ablation-token-drop {mode}",
        levels=levels_of(mode, recipe.levels),
        training=replace(recipe.training, seed=seed),
    )


# ---------------------------------------------------------------------- stages


def train(
    context: Context, *, preset: str, mode: str, seed: int, steps: int, data: Sequence[str]
) -> dict[str, Any]:
    """Train one of the two."""
    if preset == "tiny":
        recipe = tiny_recipe(mode, seed, steps=steps)
    else:
        recipe = paper_recipe(mode, seed)
        recipe = replace(recipe, training=replace(recipe.training, steps=steps))
    sources = tuple(data) if data else photo_paths(context.options, context.run / "photos")[0]
    run_tokenizer(context, recipe, _run(context.folder), data=sources)
    return {"steps": steps}


def _run(folder: Path) -> Path:
    return folder / "run"


@torch.no_grad()
def measure(context: Context, *, modes: Sequence[str], seed: int) -> dict[str, Any]:
    """Measure both runs of a seed on one set of crops that neither has seen."""
    size = SIZE if context.options.preset == "tiny" else 256
    pixels = held_out_crops(photo_paths(context.options, context.run / "photos")[1], size)
    pixels = pixels.to(context.device)
    found = {}
    for mode in modes:
        folder = _run(context.folder_of(f"train-{mode}-seed-{seed}"))
        tok = DCSTok.from_pretrained(folder / "model").to(context.device)
        maps = level_maps(tok, pixels)
        found[mode] = {
            "psnr": [mean_psnr(decoded, pixels) for decoded in maps.decoded],
            "overlap": overlap(maps),
            "at work": levels_at_work(maps),
            "complexity": complexity_gain(maps, pixels, tok.config.patches_short_side),
        }
        shape = maps.decoded[:, 0].shape
        shown = torch.stack(
            [m[:, 0].expand(shape) for m in (maps.decoded, maps.distortion, maps.residual)]
        )
        torch.save(shown.cpu(), context.folder / f"{mode}.pt")
    torch.save(pixels[0].cpu(), context.folder / "source.pt")
    return found


# ---------------------------------------------------------------------- presets


def tiny_stages(options: Options) -> list[Stage]:
    """Two runs a seed on one core each, some minutes long."""
    return _stages(options, STEPS, Resources(memory_gb=3), Resources(memory_gb=3), ())


def paper_stages(options: Options) -> list[Stage]:
    """Stage 1 of Table 4 twice, on four nodes of eight GPUs."""
    data = paper_data(options, "ImageNet")
    return _stages(options, stage_1().training.steps, TRAINING, MODELS, data)


def _stages(
    options: Options,
    steps: int,
    resources: Resources,
    measuring: Resources,
    data: tuple[str, ...],
) -> list[Stage]:
    here = "ablation_token_drop"
    stages = [Stage(name="data", function="sources.photos:prepare_photos", resources=measuring)]
    for seed in range(options.seeds):
        for mode in MODES:
            stages.append(
                Stage(
                    name=f"train-{mode}-seed-{seed}",
                    function=f"{here}:train",
                    arguments={
                        "preset": options.preset,
                        "mode": mode,
                        "seed": seed,
                        "steps": steps,
                        "data": list(data),
                    },
                    after=("data",),
                    resources=resources,
                    array="train",
                )
            )
    for seed in range(options.seeds):
        stages.append(
            Stage(
                name=f"measure-seed-{seed}",
                function=f"{here}:measure",
                arguments={"modes": list(MODES), "seed": seed},
                after=tuple(f"train-{mode}-seed-{seed}" for mode in MODES),
                resources=measuring,
            )
        )
    return stages


def tiny_plan(options: Options) -> str:
    """Say what the small form costs."""
    return tokenizer_plan([tiny_recipe("keep", 0)], options, runs=2 * options.seeds)


def paper_plan(options: Options) -> str:
    """Say what the paper's form costs."""
    return tokenizer_plan([paper_recipe("keep", 0)], options, runs=2 * options.seeds)


EXPERIMENT = Experiment(
    name="ablation_token_drop",
    title="Figure 15: dropping tokens in training",
    paper=(
        "Maps of what four levels change and what they leave: without dropping, levels divide the "
        "picture into horizontal bands; with it, the first level holds all of it and later ones "
        "add detail, most where the content is complex. No figures are given."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": tiny_plan, "paper": paper_plan},
    report="ablation_token_drop:report",
    seeds={"tiny": 2, "paper": 1},
)

if __name__ == "__main__":
    main(EXPERIMENT)
