r"""Table 2: the whole system on UCF101, clips of 16 frames at 24 fps, by its first level alone.

    python experiments/ucf101_system.py
    python experiments/ucf101_system.py --preset paper --data TRAIN --held-out TEST \
        --feature-weights I3D

The paper's size takes the tokenizer of ``train_tokenizer.py``, caches the clips' latents, trains a
generator on them and measures 2048 clips by the protocols of ``dcs-eval``. The small form measures
the tokenizer that ships and a small generator on clips that are panned over photos.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from costs.paper_scale import MODELS, PAPER_TOKENIZER, TRAINING, check_model, paper_data
from dcs_dit.data.labelled_pictures import find_labelled_pictures
from dcs_dit.training.plan import plan as plan_of_generator
from dcs_dit.training.recipe import Recipe
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.ucf101_system import report
from sources.photos import bundled_photos
from systems.class_data import HELD_OUT, folders, pictures_held_out
from systems.class_folders import write_class_clips
from systems.clip_measures import FPS, FRAMES, measure_clip_samples
from systems.generator_stages import paper_generator, small_generator
from systems.protocol_stages import protocol_stages
from systems.shipped_tokenizers import measure_clips
from train_dit import cache_names, caches

__all__ = ["EXPERIMENT", "choose", "measure", "reconstruct", "report"]

SCALES = {"unguided": 1.0, "guided": 6.0}
SECONDS = FRAMES / FPS
SEGMENTS = 4
SIZE, PATCHES, STEPS = 64, 4, 500
CLIPS = {"train": 16, "held-out": 8}
SMALL_MODEL: dict[str, Any] = {
    "num_levels": 1,
    "grid": [SEGMENTS, PATCHES, PATCHES],
    "patch_pixels": SIZE // PATCHES,
    "fps": FPS,
}
PAPER_MODEL: dict[str, Any] = {"num_levels": 1, "grid": [SEGMENTS, 16, 16], "fps": FPS}
"""1024 tokens of one level: what Table 2 counts."""
CLASSES, REFERENCE = 101, 2048
CACHE_JOBS, FEATURE_JOBS = 32, 16


def reconstruct(context: Context, *, tokenizers: list[str], size: int) -> dict[str, Any]:
    """Measure the tokenizer that ships, at one level, on clips of photos that it has not seen."""
    if context.options.held_out:
        sources = [Path(path) for path in pictures_held_out(context)]
    else:
        sources = [context.folder / "clips"]
        write_class_clips(
            [bundled_photos(context.run / "photos").held_out],
            sources[0],
            count=6,
            size=(size, size),
            seconds=SECONDS,
            fps=FPS,
            seed=7,
        )
    return measure_clips(context, sources, tokenizers, size=size, frames=FRAMES, fps=FPS)


def measure(context: Context) -> dict[str, Any]:
    """Measure the small generator's samples."""
    return measure_clip_samples(context, names=list(SCALES))


def choose(context: Context) -> dict[str, Any]:
    """Choose the 2048 real clips of the protocols, evenly spread over those held out.

    They become links in ``reference/CLASS/``, as the protocols take all that a folder holds.

    Raises:
        ValueError: if there are fewer, the tokenizer is missing, or there are no weights of I3D.
    """
    check_model(PAPER_TOKENIZER, "train_tokenizer")
    if context.options.feature_weights is None:
        raise ValueError(
            "FVD needs the weights of I3D, but `--feature-weights` names none. Give the path of "
            "rgb_imagenet.pt."
        )
    found = find_labelled_pictures(folders(context, HELD_OUT), context.options.labels, media="clip")
    count = len(found.pictures)
    if count < REFERENCE:
        raise ValueError(
            f"Table 2 takes {REFERENCE} real clips, but those held out are {count}. Name more with "
            "`--held-out`, in folders of files."
        )
    for i in range(REFERENCE):
        clip = found.pictures[i * count // REFERENCE]
        label = "clips" if clip.label is None else found.label_names[clip.label]
        link = context.run / "reference" / label / Path(clip.file.name).name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(Path(clip.file.location).absolute())
    return {"chosen": REFERENCE, "of": count, "classes": len(found.label_names)}


# ---------------------------------------------------------------------- presets


def tiny_stages(options: Options) -> list[Stage]:
    """The tokenizer that ships, and a small generator of clips panned over photos."""
    resources = Resources(memory_gb=3, minutes=30)
    settings = {
        "size": SIZE,
        "patches": PATCHES,
        "levels": 1,
        "fps": FPS,
        "seconds": SECONDS,
        "batch_size": 8,
        "dtype": "float32",
    }
    prepare = Stage(
        name="prepare",
        function="systems.class_data:prepare_clips",
        arguments={"counts": CLIPS, "size": SIZE, "seconds": SECONDS, "fps": FPS},
    )
    kept = Stage(
        name="reconstruct",
        function="ucf101_system:reconstruct",
        arguments={"tokenizers": ["dcs-tok-nano"], "size": 128},
        resources=resources,
    )
    train = Stage(
        name="train",
        function="systems.generator_stages:train",
        arguments={"size": "small", "seed": 0, "steps": STEPS, "model": SMALL_MODEL},
        after=cache_names(1),
        resources=resources,
    )
    samples = [
        _sampling(
            name, name, scale, {"first": 0, "count": CLIPS["held-out"]}, resources, batch_size=20
        )
        for name, scale in SCALES.items()
    ]
    last = Stage(
        name="measure",
        function="ucf101_system:measure",
        after=tuple(SCALES),
        resources=resources,
    )
    cached = caches(settings, "dcs-tok-nano", {"train": 1, "held-out": 1}, resources)
    return [prepare, kept, *cached, train, *samples, last]


def paper_stages(options: Options) -> list[Stage]:
    """UCF101 at 256 px: latents, a generator of XL size, and two protocols of 2048 clips."""
    paper_data(options, "UCF101's clips, in a folder for each class, test clips held out")
    settings = {
        "size": 256,
        "patches": 16,
        "levels": 1,
        "fps": FPS,
        "seconds": SECONDS,
        "clips_per_file": 8,
        "flips": True,
        "batch_size": 16,
    }
    first = Stage(name="prepare", function="ucf101_system:choose", resources=MODELS)
    cached = caches(settings, PAPER_TOKENIZER, {"train": CACHE_JOBS, "held-out": 1}, MODELS)
    train = Stage(
        name="train",
        function="systems.generator_stages:train",
        arguments={
            "size": "paper",
            "seed": 0,
            "steps": paper_recipe().training.steps,
            "model": PAPER_MODEL,
        },
        after=cache_names(CACHE_JOBS),
        resources=TRAINING,
    )
    stages = [first, *cached, train]
    stages += protocol_stages(
        "rfvd",
        "reconstruct",
        "ucf101-rfvd",
        jobs=FEATURE_JOBS,
        after=("prepare",),
        resources=MODELS,
    )
    for name, scale in SCALES.items():
        drawn = [
            _sampling(f"{name}.{job}", name, scale, counts, MODELS, batch_size=16)
            for job, counts in enumerate(_shares())
        ]
        stages += drawn
        stages += protocol_stages(
            f"gfvd-{name}",
            "generate",
            "ucf101-gfvd",
            jobs=FEATURE_JOBS,
            after=tuple(stage.name for stage in drawn),
            resources=MODELS,
            samples=name,
        )
    return stages


def _shares() -> list[dict[str, int]]:
    """Return how 2048 samples are divided: 20 of every class, and one more of the first 28."""
    every, more = divmod(REFERENCE, CLASSES)
    shares = [{"first": number, "count": 1} for number in range(every)]
    return [*shares, {"first": every, "count": 1, "classes": more}]


def _sampling(
    stage: str,
    array: str,
    scale: float,
    counts: dict[str, int],
    resources: Resources,
    *,
    batch_size: int,
) -> Stage:
    return Stage(
        name=stage,
        function="systems.sampling_stages:sample_one_level",
        arguments={
            "model": "train",
            "counts": counts,
            "guidance_scale": scale,
            "batch_size": batch_size,
        },
        after=("train",),
        resources=resources,
        array=array,
    )


def paper_recipe() -> Recipe:
    """Return DCS-DiT-XL on one level of clips; the paper gives no settings of its own for them."""
    return replace(paper_generator(0, **PAPER_MODEL), name="xl, clips")


def plan(options: Options) -> str:
    """Say what a preset costs."""
    is_paper = options.preset == "paper"
    recipe = paper_recipe() if is_paper else small_generator(0, steps=STEPS, **SMALL_MODEL)
    devices = 32 if is_paper else 1
    said = plan_of_generator(
        recipe, device=options.device, world_size=devices, checkpoint_activations=is_paper
    )
    return f"1 run on {devices} devices\n\n{said}"


EXPERIMENT = Experiment(
    name="ucf101_system",
    title="Table 2: UCF101 at 256 px and 24 fps",
    paper=(
        "16 frames, one level, 1024 tokens of 16 numbers: PSNR 28.55, rFVD 17.51, gFVD 452.99, "
        "with guidance 86.87. OmniTokenizer (4096 x 8): 28.95, 10.21, 480.60, 88.89."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": plan, "paper": plan},
    report="ucf101_system:report",
    seeds={"tiny": 1, "paper": 1},
)

if __name__ == "__main__":
    main(EXPERIMENT)
