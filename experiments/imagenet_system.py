"""Table 1: the whole system on ImageNet at 256 px, by its first level alone.

    python experiments/imagenet_system.py
    python experiments/imagenet_system.py --preset paper --data TRAIN --held-out VAL ADM.npz

The paper's size takes the models of ``train_tokenizer.py`` and ``train_dit.py`` from their run
folders and measures them by the protocols of ``dcs-eval``: 50,000 validation pictures against
themselves, 50,000 samples against ADM's statistics. The small form measures the tokenizers that
ship on photos, and a small generator of crops of photos.
"""

from pathlib import Path
from typing import Any

from costs.paper_scale import MODELS, PAPER_GENERATOR, PAPER_TOKENIZER, check_model, paper_data
from dcs_dit.training.plan import plan as plan_of_generator
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.imagenet_system import report
from sources.photos import bundled_photos
from systems.class_data import pictures_held_out
from systems.protocol_stages import held_out_statistics, protocol_stages
from systems.sample_measures import measure_samples
from systems.shipped_tokenizers import measure_pictures
from train_dit import CROPS, SIZE, SMALL_MODEL, STEPS, recipe_of, small_caches

__all__ = ["EXPERIMENT", "measure", "reconstruct", "report"]

SCALES = {"unguided": 1.0, "guided": 6.0}
TOKENIZERS = ("dcs-tok-nano", "dcs-tok-nano-gen")
FEATURE_JOBS, SAMPLE_JOBS, GFID_JOBS = 32, 50, 8
"""Of 50,000 pictures. A job of samples draws one of every class."""


def reconstruct(context: Context, *, tokenizers: list[str]) -> dict[str, Any]:
    """Measure tokenizers that ship, at one level, on photos that they were not trained on."""
    if context.options.held_out:
        sources = [Path(path) for path in pictures_held_out(context)]
    else:
        photos = bundled_photos(context.run / "photos")
        sources = [photos.train, photos.held_out]
    return measure_pictures(context, sources, tokenizers)


def measure(context: Context) -> dict[str, Any]:
    """Measure the small generator's samples."""
    return measure_samples(context, names=list(SCALES))


def check(context: Context) -> dict[str, Any]:
    """Stop at once where a model or the reference is missing."""
    check_model(PAPER_TOKENIZER, "train_tokenizer")
    check_model(PAPER_GENERATOR, "train_dit")
    return {"statistics": held_out_statistics(context).name}


def tiny_stages(options: Options) -> list[Stage]:
    """The tokenizers that ship, and a small generator of crops of photos."""
    resources = Resources(memory_gb=3, minutes=30)
    prepare = Stage(
        name="prepare",
        function="systems.class_data:prepare",
        arguments={"counts": CROPS, "size": SIZE},
    )
    reconstruct_stage = Stage(
        name="reconstruct",
        function="imagenet_system:reconstruct",
        arguments={"tokenizers": list(TOKENIZERS)},
        resources=resources,
    )
    train = Stage(
        name="train",
        function="systems.generator_stages:train",
        arguments={"size": "small", "seed": 0, "steps": STEPS, "model": SMALL_MODEL},
        after=("cache-train", "cache-held-out"),
        resources=resources,
    )
    samples = [
        Stage(
            name=name,
            function="systems.sampling_stages:sample_one_level",
            arguments={
                "model": "train",
                "counts": {"first": 0, "count": CROPS["held-out"]},
                "guidance_scale": scale,
                "batch_size": 40,
            },
            after=("train",),
            resources=resources,
            array="sample",
        )
        for name, scale in SCALES.items()
    ]
    last = Stage(
        name="measure",
        function="imagenet_system:measure",
        after=tuple(SCALES),
        resources=resources,
    )
    return [prepare, reconstruct_stage, *small_caches(resources), train, *samples, last]


def paper_stages(options: Options) -> list[Stage]:
    """Two protocols of 50,000 pictures each, shared among GPUs."""
    paper_data(options, "ImageNet's pictures, and its validation set with ADM's npz held out")
    stages = [Stage(name="check", function="imagenet_system:check", resources=Resources(minutes=5))]
    stages += protocol_stages(
        "rfid",
        "reconstruct",
        "imagenet256-rfid",
        jobs=FEATURE_JOBS,
        after=("check",),
        resources=MODELS,
    )
    for name, scale in SCALES.items():
        drawn = [
            Stage(
                name=f"{name}.{job}",
                function="systems.sampling_stages:sample_one_level",
                arguments={
                    "model": PAPER_GENERATOR,
                    "counts": {"first": job, "count": 1},
                    "guidance_scale": scale,
                    "batch_size": 125,
                },
                after=("check",),
                resources=MODELS,
                array=name,
            )
            for job in range(SAMPLE_JOBS)
        ]
        stages += drawn
        stages += protocol_stages(
            f"gfid-{name}",
            "generate",
            "imagenet256-gfid",
            jobs=GFID_JOBS,
            after=tuple(stage.name for stage in drawn),
            resources=MODELS,
            samples=name,
        )
    return stages


def tiny_plan(options: Options) -> str:
    """Say what the small generator costs; the rest takes a minute."""
    return f"1 run on 1 device\n\n{plan_of_generator(recipe_of(options), device=options.device)}"


def paper_plan(options: Options) -> str:
    """Say what is computed; training is planned by the two experiments that it takes models of."""
    return (
        "No training: the models are those of train_tokenizer.py and train_dit.py, each with "
        "`--preset paper` (`--plan` of these says what they cost).\n"
        f"50,000 validation pictures through the tokenizer and Inception: {FEATURE_JOBS} jobs of "
        "one GPU.\n2 x 50,000 samples of 50 steps, unguided and guided: "
        f"2 x {SAMPLE_JOBS} jobs of 1000 samples on one GPU, then 2 x {GFID_JOBS} jobs through "
        "Inception."
    )


EXPERIMENT = Experiment(
    name="imagenet_system",
    title="Table 1: ImageNet at 256 px",
    paper=(
        "One level, 256 tokens of 16 numbers: PSNR 26.91, SSIM 0.778, rFID 0.90; gFID 7.68 and IS "
        "111.4, with guidance 2.50 and 281.8. DiT on SD-VAE's 1024 tokens: 26.04, 0.834, 0.62; "
        "9.62 and 121.5, 2.77 and 278.2."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": tiny_plan, "paper": paper_plan},
    report="imagenet_system:report",
    seeds={"tiny": 1, "paper": 1},
)

if __name__ == "__main__":
    main(EXPERIMENT)
