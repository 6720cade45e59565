"""Table 5: the generator's training and sampling.

    python experiments/train_dit.py
    python experiments/train_dit.py --preset paper --data TRAIN --held-out VAL

Latents of labelled pictures are computed once; a generator learns them by rectified flow with
logit-normal times and the loss on the velocity's direction, a linear draw of levels; it samples by
Euler's method in 50 steps with guidance 6 from time 0.1 on. Each of these settings of sampling is
changed once, beside the paper's. ``imagenet_system.py`` takes the paper's generator from this one's
run folder.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from costs.paper_scale import MODELS, PAPER_TOKENIZER, TRAINING, paper_data
from dcs_dit.training.plan import plan as plan_of_generator
from dcs_dit.training.recipe import Recipe
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.train_dit import report
from systems.generator_stages import paper_generator, small_generator
from systems.sample_measures import measure_samples

__all__ = ["EXPERIMENT", "measure", "report"]

STEPS = 800
SIZE, PATCHES, LEVELS = 64, 4, 3
SMALL_MODEL: dict[str, Any] = {"grid": [1, PATCHES, PATCHES], "patch_pixels": SIZE // PATCHES}
TINY_TOKENIZER = "dcs-tok-nano-gen"
CROPS = {"train": 32, "held-out": 12}
CACHE_JOBS = 32
PAPER_SAMPLING: dict[str, Any] = {
    "steps": 50,
    "guidance_scale": 6.0,
    "guidance_interval": [0.1, 1.0],
}
SAMPLING: dict[str, dict[str, Any]] = {
    "paper": PAPER_SAMPLING,
    "unguided": PAPER_SAMPLING | {"guidance_scale": 1.0},
    "guidance-2": PAPER_SAMPLING | {"guidance_scale": 2.0},
    "always-guided": PAPER_SAMPLING | {"guidance_interval": [0.0, 1.0]},
    "10-steps": PAPER_SAMPLING | {"steps": 10},
}
"""Table 5's way of sampling, and others that differ from it in one setting."""


def measure(context: Context, *, names: Sequence[str]) -> dict[str, Any]:
    """Measure the samples of all settings."""
    # A probe of ImageNet would read all of its pictures.
    return measure_samples(context, names=names, probe=context.options.preset == "tiny")


def tiny_stages(options: Options) -> list[Stage]:
    """Crops of five photos as classes, and small generators of them."""
    resources = Resources(memory_gb=3, minutes=30)
    prepare = {"counts": CROPS, "size": SIZE}
    small = {"size": "small", "steps": STEPS, "model": SMALL_MODEL}
    first = Stage(name="prepare", function="systems.class_data:prepare", arguments=prepare)
    return [
        first,
        *small_caches(resources),
        *runs(options, small, cache_names(1), resources),
        *_samples(options, CROPS["held-out"], 40, resources),
    ]


def paper_stages(options: Options) -> list[Stage]:
    """Table 5 on four nodes of eight GPUs: ImageNet at 256 px, 4 levels of 16 x 16."""
    paper_data(options, "ImageNet's pictures, in a folder for each class")
    settings = {"size": 256, "patches": 16, "levels": 4, "flips": True, "batch_size": 64}
    large = {"size": "paper", "steps": paper_generator(0).training.steps, "model": {}}
    first = Stage(
        name="prepare",
        function="systems.class_data:prepare",
        arguments={"counts": {}, "size": 256},
        resources=MODELS,
    )
    return [
        first,
        *caches(settings, PAPER_TOKENIZER, {"train": CACHE_JOBS, "held-out": 1}, MODELS),
        *runs(options, large, cache_names(CACHE_JOBS), TRAINING),
        *_samples(options, 5, 125, MODELS),
    ]


def small_caches(
    resources: Resources, function: str = "systems.generator_stages:cache"
) -> list[Stage]:
    """Return the stages that compute the small form's latents."""
    settings = {
        "size": SIZE,
        "patches": PATCHES,
        "levels": LEVELS,
        "batch_size": 16,
        "dtype": "float32",
    }
    jobs = {"train": 1, "held-out": 1}
    return caches(settings, TINY_TOKENIZER, jobs, resources, function)


def caches(
    settings: dict[str, Any],
    tokenizer: str,
    jobs: dict[str, int],
    resources: Resources,
    function: str = "systems.generator_stages:cache",
    **arguments: Any,
) -> list[Stage]:
    """Return the stages that compute latents.

    Args:
        settings: of :class:`dcs_dit.data.CacheConfig`.
        tokenizer: whose.
        jobs: that share the work on each name.
        resources: of each.
        function: of each.
        arguments: that it takes beside these.
    """
    return [
        Stage(
            name=f"cache-{name}" if count == 1 else f"cache-{name}-{job}",
            function=function,
            arguments={
                "name": name,
                "tokenizer": tokenizer,
                "settings": settings,
                "jobs": count,
                "job": job,
                **arguments,
            },
            after=("prepare",),
            resources=resources,
            array="cache",
        )
        for name, count in jobs.items()
        for job in range(count)
    ]


def runs(
    options: Options, arguments: dict[str, Any], after: tuple[str, ...], resources: Resources
) -> list[Stage]:
    """Return the stages that train, one for each seed.

    Args:
        options: of the command line.
        arguments: of :func:`systems.generator_stages.train`, all but the seed.
        after: stages that compute latents.
        resources: of each.
    """
    return [
        Stage(
            name=run_name(seed),
            function="systems.generator_stages:train",
            arguments={**arguments, "seed": seed},
            after=after,
            resources=resources,
            array="train",
        )
        for seed in range(options.seeds)
    ]


def cache_names(jobs: int) -> tuple[str, ...]:
    """Return the names of the stages that compute latents, the training's by so many jobs."""
    train = [f"cache-train-{job}" for job in range(jobs)] if jobs > 1 else ["cache-train"]
    return (*train, "cache-held-out")


def run_name(seed: int) -> str:
    """Return a run's name; the first seed's is where others look for it."""
    return "train" if seed == 0 else f"train-seed-{seed}"


def samples(
    options: Options,
    drawn: Mapping[str, dict[str, Any]],
    functions: tuple[str, str],
    resources: Resources,
) -> list[Stage]:
    """Return the stages that draw samples of every run, and those that measure a run's.

    Args:
        options: of the command line.
        drawn: by name, the arguments of the first function, all but the run and its seed.
        functions: that draws samples, and that measures those of ``names``.
        resources: of each.
    """
    draw, measure_them = functions
    stages, measures = [], []
    for seed in range(options.seeds):
        names = [f"{name}-seed-{seed}" for name in drawn]
        stages += [
            Stage(
                name=name,
                function=draw,
                arguments={"model": run_name(seed), **arguments, "seed": seed},
                after=(run_name(seed),),
                resources=resources,
                array="sample",
            )
            for name, arguments in zip(names, drawn.values(), strict=True)
        ]
        measures.append(
            Stage(
                name=f"measure-seed-{seed}",
                function=measure_them,
                arguments={"names": names},
                after=tuple(names),
                resources=resources,
            )
        )
    return [*stages, *measures]


def _samples(options: Options, count: int, batch_size: int, resources: Resources) -> list[Stage]:
    drawn = {
        setting: {"count": count, "settings": values, "batch_size": batch_size}
        for setting, values in SAMPLING.items()
    }
    functions = ("systems.sampling_stages:sample_levels", "train_dit:measure")
    return samples(options, drawn, functions, resources)


def recipe_of(options: Options) -> Recipe:
    """Return the first seed's run."""
    if options.preset == "paper":
        return paper_generator(0)
    return small_generator(0, steps=STEPS, **SMALL_MODEL)


def plan(options: Options) -> str:
    """Say what a preset costs."""
    is_paper = options.preset == "paper"
    devices = 32 if is_paper else 1
    said = plan_of_generator(
        recipe_of(options),
        device=options.device,
        world_size=devices,
        checkpoint_activations=is_paper,
    )
    return f"1 run, {options.seeds} times, on {devices} devices\n\n{said}"


EXPERIMENT = Experiment(
    name="train_dit",
    title="Table 5: the generator's training and sampling",
    paper=(
        "ImageNet at 256 px, 4 levels, rectified flow with logit-normal times and the loss on the "
        "velocity's direction, 200K steps of 512 at 1e-4; Euler in 50 steps, guidance 6 from time "
        "0.1 on. 32 GPUs, about four days. One level: gFID 7.68, guided 2.50 (Table 1)."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": plan, "paper": plan},
    report="train_dit:report",
    seeds={"tiny": 2, "paper": 1},
)

if __name__ == "__main__":
    main(EXPERIMENT)
