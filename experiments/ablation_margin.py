"""Table 6: what latent denoising and the L2-margin do to the levels of a tokenizer.

    python experiments/ablation_margin.py
    python experiments/ablation_margin.py --preset paper --data IMAGENET KOALA ... --held-out VAL

Four runs that differ in two terms of the loss. Without denoising; with denoising alone, against
which the latents grow; with plain L2 on them (margin 0), which empties the levels that matter
least; with a margin of 1, below which they cost nothing. All but the first end, as in the paper,
with the decoder learning alone and without noise.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablations.level_measures import held_out_crops, level_deviations, psnr_by_levels
from ablations.small_tokenizer import SIZE, small_recipe
from costs.paper_scale import MODELS, TRAINING, paper_data, paper_model
from costs.training_plans import tokenizer_plan
from dcs_tok import DCSTok
from dcs_tok.training.recipe import LossWeights, Recipe
from dcs_tok.training.recipes import stage_3, stage_3_decoder
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.ablation_margin import report
from sources.photos import photo_paths, prepare_photos
from systems.tokenizer_runs import run_tokenizer

__all__ = ["EXPERIMENT", "measure", "prepare", "report", "train"]

MODES = ("plain", "denoise", "margin-0", "margin-1")
STEPS, DECODER_STEPS = 400, 100
MARGIN_WEIGHT = 1e-4
"""lambda_3 beside an L2 loss alone. The paper's 0.001 stands beside LPIPS, whose values are some
ten times those of the squared errors here."""
NOISE = 3.0
STAGE_2 = paper_model("train_tokenizer", "stage-2")
"""The tokenizer that the paper's four runs start from."""


def losses_of(mode: str, base: LossWeights, margin_weight: float) -> LossWeights:
    """Return the loss of a row of Table 6.

    Args:
        mode: of :data:`MODES`.
        base: what all rows share.
        margin_weight: lambda_3, where the row has that term.
    """
    if mode == "plain":
        return replace(base, denoise_std=0.0, margin_weight=0.0)
    if mode == "denoise":
        return replace(base, denoise_std=NOISE, margin_weight=0.0)
    margin = {"margin-0": 0.0, "margin-1": 1.0}[mode]
    return replace(base, denoise_std=NOISE, margin_weight=margin_weight, margin=margin)


def tiny_recipe(mode: str, seed: int, *, steps: int = STEPS) -> Recipe:
    """Return a small run of a row; the noise, the margins and the rest of Eq. 7 are the paper's."""
    losses = losses_of(mode, LossWeights(), MARGIN_WEIGHT)
    return small_recipe(f"ablation-margin {mode}", losses, seed=seed, steps=steps)


def paper_recipe(mode: str, seed: int) -> Recipe:
    """Return the row at the paper's size: stage 3 with the row's losses."""
    recipe = stage_3()
    losses = losses_of(mode, recipe.losses, recipe.losses.margin_weight)
    return _seeded(replace(recipe, name=f"ablation-margin {mode}", losses=losses), seed)


def decoder_recipe(recipe: Recipe, *, steps: int) -> Recipe:
    """Return the end of a run: the decoder alone, without noise (Table 6)."""
    return replace(
        recipe,
        name=f"{recipe.name}, decoder",
        losses=replace(recipe.losses, denoise_std=0.0),
        training=replace(
            recipe.training,
            steps=steps,
            optimizer=replace(
                recipe.training.optimizer,
                warmup_steps=min(steps, recipe.training.optimizer.warmup_steps),
            ),
        ),
        freezes_encoder=True,
    )


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    return replace(recipe, training=replace(recipe.training, seed=seed))


# ---------------------------------------------------------------------- stages


def train(
    context: Context,
    *,
    preset: str,
    mode: str,
    seed: int,
    steps: int,
    decoder_steps: int,
    data: Sequence[str],
) -> dict[str, Any]:
    """Train a row of the table, and then its decoder alone."""
    if preset == "tiny":
        recipe, start = tiny_recipe(mode, seed, steps=steps), None
    else:
        recipe, start = _with_steps(paper_recipe(mode, seed), steps), STAGE_2
    sources, folder = _sources(context, data), context.folder / "run"
    run_tokenizer(context, recipe, folder, data=sources, init_from=start)
    if mode != "plain":
        ending, end = decoder_recipe(recipe, steps=decoder_steps), context.folder / "decoder"
        run_tokenizer(context, ending, end, data=sources, init_from=folder / "model")
    return {"model": str(_model(context.folder, mode).relative_to(context.run))}


def _with_steps(recipe: Recipe, steps: int) -> Recipe:
    return replace(recipe, training=replace(recipe.training, steps=steps))


def _model(folder: Path, mode: str) -> Path:
    return folder / ("run" if mode == "plain" else "decoder") / "model"


def _sources(context: Context, data: Sequence[str]) -> tuple[Path | str, ...]:
    return tuple(data) if data else photo_paths(context.options, context.run / "photos")[0]


def prepare(context: Context) -> dict[str, Any]:
    """Write the photos that stand in for data.

    Raises:
        ValueError: if what the paper's runs start from is not there.
    """
    if context.options.preset == "paper" and not Path(STAGE_2).exists():
        raise ValueError(
            f"The runs of Table 6 must start from stage 2, but {STAGE_2} does not exist. Run "
            "`python experiments/train_tokenizer.py --preset paper ...` first."
        )
    return prepare_photos(context)


def measure(context: Context, *, modes: Sequence[str], seed: int) -> dict[str, Any]:
    """Measure the rows of one seed, on one set of crops that no run has seen."""
    size = SIZE if context.options.preset == "tiny" else 256
    pixels = held_out_crops(photo_paths(context.options, context.run / "photos")[1], size)
    rows = {}
    for mode in modes:
        folder = context.folder_of(f"train-{mode}-seed-{seed}")
        tok = DCSTok.from_pretrained(_model(folder, mode)).to(context.device)
        rows[mode] = {
            "std": level_deviations(tok, pixels.to(context.device)),
            "psnr": psnr_by_levels(tok, pixels.to(context.device)),
        }
        torch.save(_shown(tok, pixels[:2].to(context.device)), context.folder / f"{mode}.pt")
    torch.save(pixels[:2], context.folder / "source.pt")
    return rows


@torch.no_grad()
def _shown(tok: DCSTok, pixels: Tensor) -> Tensor:
    """Return reconstructions (m, b, 3, H, W) from 1, 2, 4 and all levels."""
    latents = tok.encode(pixels)
    return torch.stack([tok.decode(latents, levels=m).cpu() for m in (1, 2, 4, 8)])


# ---------------------------------------------------------------------- presets


def tiny_stages(options: Options) -> list[Stage]:
    """Four runs a seed on one core each, some minutes long."""
    resources = Resources(memory_gb=3, minutes=60)
    return _stages(options, (STEPS, DECODER_STEPS), resources, Resources(memory_gb=3), ())


def paper_stages(options: Options) -> list[Stage]:
    """Stage 3 of Table 4 four times, on four nodes of eight GPUs, each from stage 2."""
    data = paper_data(options, "pictures and clips of stage 3 (ImageNet, Koala-36M, LAVIB)")
    steps = (stage_3().training.steps, stage_3_decoder().training.steps)
    return _stages(options, steps, TRAINING, MODELS, data)


def _stages(
    options: Options,
    steps: tuple[int, int],
    resources: Resources,
    measuring: Resources,
    data: tuple[str, ...],
) -> list[Stage]:
    first = Stage(name="data", function="ablation_margin:prepare", resources=measuring)
    runs = [
        Stage(
            name=f"train-{mode}-seed-{seed}",
            function="ablation_margin:train",
            arguments={
                "preset": options.preset,
                "mode": mode,
                "seed": seed,
                "steps": steps[0],
                "decoder_steps": steps[1],
                "data": list(data),
            },
            after=(first.name,),
            resources=resources,
            array="train",
        )
        for seed in range(options.seeds)
        for mode in MODES
    ]
    measures = [
        Stage(
            name=f"measure-seed-{seed}",
            function="ablation_margin:measure",
            arguments={"modes": list(MODES), "seed": seed},
            after=tuple(f"train-{mode}-seed-{seed}" for mode in MODES),
            resources=measuring,
        )
        for seed in range(options.seeds)
    ]
    return [first, *runs, *measures]


def tiny_plan(options: Options) -> str:
    """Say what the small form costs."""
    recipe = tiny_recipe("margin-1", 0)
    return _plan(recipe, decoder_recipe(recipe, steps=DECODER_STEPS), options)


def paper_plan(options: Options) -> str:
    """Say what the paper's form costs."""
    recipe = paper_recipe("margin-1", 0)
    return _plan(recipe, decoder_recipe(recipe, steps=stage_3_decoder().training.steps), options)


def _plan(recipe: Recipe, ending: Recipe, options: Options) -> str:
    """Plan the last row: the others cost as much or little less, and all but one have an ending."""
    rows = tokenizer_plan([recipe], options, runs=len(MODES) * options.seeds)
    endings = tokenizer_plan([ending], options, runs=(len(MODES) - 1) * options.seeds)
    return f"{rows}\n\n{endings}"


EXPERIMENT = Experiment(
    name="ablation_margin",
    title="Table 6: denoising, L2-margin and the deviation of levels",
    paper=(
        "Deviations of levels 1 to 8: 3.64 to 2.75 without denoising; 82.0 to 40.7 with denoising "
        "alone; 12.56 to 0.45 with L2 (margin 0); 12.44 to 2.69 with a margin of 1. PSNR at 8 "
        "levels: 33.22, 33.15, 29.64 and 32.61 dB. ImageNet, stage 3 of Table 4."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": tiny_plan, "paper": paper_plan},
    report="ablation_margin:report",
    seeds={"tiny": 2, "paper": 1},
)

if __name__ == "__main__":
    main(EXPERIMENT)
