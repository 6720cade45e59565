"""Table 4: the tokenizer's stages of training, one after the other.

    python experiments/train_tokenizer.py
    python experiments/train_tokenizer.py --preset paper --data IMAGENET KOALA LAVIB --held-out VAL

Pictures at one scale and 4 levels; pictures at many scales and 8 levels; clips too, with noise on
the latents, the L2-margin and the adversarial loss; at last the decoder alone, without noise. The
tokenizer is measured after each. Other experiments take the paper's from this one's run folder.
"""

from pathlib import Path
from typing import Any

from costs.paper_scale import MODELS, TRAINING, paper_data
from costs.training_plans import tokenizer_plan
from dcs_tok.data.sources import find_samples
from dcs_tok.training.recipe import Recipe
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.train_tokenizer import report
from sources.photos import photo_paths
from systems.class_folders import write_class_clips
from systems.tokenizer_measures import measure_tokenizer
from systems.tokenizer_runs import run_tokenizer
from systems.tokenizer_stages import SIZE, STAGES, STEPS_SHRINK, paper_stage, small_stage

__all__ = ["EXPERIMENT", "measure", "prepare", "report", "train"]

PAPER_SIZE = 256


def stage_name(stage: str, seed: int) -> str:
    """Return a run's name; the first seed's is the stage's own, where others look for it."""
    return stage if seed == 0 else f"{stage}-seed-{seed}"


def prepare(context: Context) -> dict[str, Any]:
    """Write photos and clips where the command line names none; count what there is."""
    given = {
        "train": photo_paths(context.options, context.run / "photos")[0],
        "held-out": photo_paths(context.options, context.run / "photos")[1],
    }
    counts = {}
    for name, sources in given.items():
        clips = find_samples(sources, ("clip",))
        if not clips:
            for fps in (24, 30) if name == "train" else (24,):
                write_class_clips(
                    sources,
                    _clips(context, name),
                    count=3 if name == "train" else 8,
                    size=(96, 96),
                    seconds=1.0 if name == "train" else 2 / 3,
                    fps=fps,
                    seed=fps,
                )
            clips = find_samples([_clips(context, name)], ("clip",))
        counts[name] = {
            "pictures": len(find_samples(sources, ("picture",))),
            "clips": len(clips),
        }
    return counts


def _clips(context: Context, name: str) -> Path:
    return context.run / "clips" / name


def _sources(context: Context, name: str) -> tuple[Path, ...]:
    """Return the photos, and the clips that were made of them, if any were."""
    train, held_out = photo_paths(context.options, context.run / "photos")
    sources = train if name == "train" else held_out
    made = _clips(context, name)
    return (*sources, made) if made.exists() else sources


def train(
    context: Context,
    *,
    stage: str,
    seed: int,
    starts_from: str | None,
    shrink: float,
    perceptual: bool,
) -> dict[str, Any]:
    """Train a stage, from the model of the one before."""
    if context.options.preset == "tiny":
        recipe = small_stage(stage, seed, perceptual=perceptual, shrink=shrink)
    else:
        recipe = paper_stage(stage, seed)
    start = None if starts_from is None else model_of(context, starts_from)
    folder = context.folder / "run"
    data = _sources(context, "train")
    result = run_tokenizer(context, recipe, folder, data=data, init_from=start)
    return {"steps": result.step, "samples": result.samples}


def model_of(context: Context, run: str) -> Path:
    """Return the model folder of a finished run."""
    return context.folder_of(run) / "run" / "model"


def measure(context: Context, *, run: str, size: int) -> dict[str, Any]:
    """Measure the model of a run on pictures and clips that no run has seen."""
    return measure_tokenizer(
        model_of(context, run),
        _sources(context, "held-out"),
        size=size,
        device=context.device,
        folder=context.folder,
    )


# ---------------------------------------------------------------------- presets


def tiny_stages(options: Options) -> list[Stage]:
    """The four small runs of each seed, one core each."""
    if (options.lpips_trunk is None) != (options.lpips_heads is None):
        raise ValueError(
            "`--lpips-trunk` and `--lpips-heads` must be given together, but only one is. Without "
            "them the small form leaves the perceptual loss out."
        )
    perceptual = options.lpips_trunk is not None
    resources = Resources(memory_gb=3, minutes=60)
    return _stages(options, STEPS_SHRINK, SIZE, perceptual, resources, Resources(memory_gb=3))


def paper_stages(options: Options) -> list[Stage]:
    """Table 4 on four nodes of eight GPUs, about a week."""
    paper_data(options, "ImageNet, Koala-36M and LAVIB: pictures and clips")
    return _stages(options, 1, PAPER_SIZE, True, TRAINING, MODELS)


def _stages(
    options: Options,
    shrink: float,
    size: int,
    perceptual: bool,
    resources: Resources,
    measuring: Resources,
) -> list[Stage]:
    stages = [Stage(name="prepare", function="train_tokenizer:prepare", resources=measuring)]
    for seed in range(options.seeds):
        before = None
        for stage in STAGES:
            name = stage_name(stage, seed)
            stages.append(
                Stage(
                    name=name,
                    function="train_tokenizer:train",
                    arguments={
                        "stage": stage,
                        "seed": seed,
                        "starts_from": before,
                        "shrink": shrink,
                        "perceptual": perceptual,
                    },
                    after=(before or "prepare",),
                    resources=resources,
                )
            )
            before = name
    stages += [
        Stage(
            name=f"measure-{stage_name(stage, seed)}",
            function="train_tokenizer:measure",
            arguments={"run": stage_name(stage, seed), "size": size},
            after=(stage_name(stage, seed),),
            resources=measuring,
            array="measure",
        )
        for seed in range(options.seeds)
        for stage in STAGES
    ]
    return stages


def recipes(options: Options) -> list[Recipe]:
    """Return the stages of the first seed."""
    if options.preset == "paper":
        return [paper_stage(stage, 0) for stage in STAGES]
    perceptual = options.lpips_trunk is not None
    return [small_stage(stage, 0, perceptual=perceptual) for stage in STAGES]


def plan(options: Options) -> str:
    """Say what a preset costs."""
    return tokenizer_plan(recipes(options), options, runs=options.seeds)


EXPERIMENT = Experiment(
    name="train_tokenizer",
    title="Table 4: the tokenizer's stages of training",
    paper=(
        "100K, 200K and 150K steps of 128, 256 and 256 samples; the decoder learns alone in the "
        "last 50K steps. 32 GPUs, about a week. No figure is given after each stage; one level "
        "reaches 26.91 dB on ImageNet in the end (Table 1)."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": plan, "paper": plan},
    report="train_tokenizer:report",
    seeds={"tiny": 1, "paper": 1},
)

if __name__ == "__main__":
    main(EXPERIMENT)
