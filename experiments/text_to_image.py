r"""Table 5, text to image: a generator that captions guide.

    python experiments/text_to_image.py
    python experiments/text_to_image.py --preset paper --data IMAGENET SA-1B --held-out VAL \
        --labels captions.csv

As ``train_dit.py``, with captions in place of classes: a frozen encoder turns them into states, to
which every block attends. ImageNet is encoded at 256 px and SA-1B at 512 px, both as 16 x 16
patches of 4 levels: the number of patches on the short side is the tokenizer's (Sec. 4.1), and
latents have no size. The small form's classes are crops of photos, each with captions in several
wordings; a probe then says whether a sample shows what its caption names.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from costs.paper_scale import MODELS, PAPER_TOKENIZER, TRAINING, paper_data
from dcs_dit.training.plan import plan as plan_of_generator
from dcs_dit.training.recipe import Recipe
from dcs_dit.transformers_text import DEFAULT_LENGTH
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.text_to_image import report
from systems.caption_data import ENCODER, FROM_DATA
from systems.caption_stages import measure_matches
from systems.generator_stages import paper_generator, small_generator
from systems.sample_measures import measure_samples
from systems.small_text_encoder import WIDTH
from train_dit import (
    CROPS,
    PAPER_SAMPLING,
    SAMPLING,
    SIZE,
    SMALL_MODEL,
    caches,
    runs,
    samples,
    small_caches,
)

__all__ = ["EXPERIMENT", "measure", "report"]

STEPS = 600
TEXT_ENCODER = "google/flan-t5-xl"
"""Our choice, as the paper names none: its weights are safetensors, and its encoder a fifth of
the generator's work, so that it can run frozen in every step. Any of ``transformers`` will do."""
TEXT_WIDTH, TEXT_PARAMETERS = 2048, 1.2e9
"""Of its encoder, for ``--plan``; the first stage checks the width."""
DATA_SETS = {"imagenet": 256, "sa-1b": 512}
"""Pixels a side, in the order of ``--data``; the first is what samples are decoded at."""
PICTURES = 1_281_167 + 11_000_000
"""Of both, for ``--plan``. How the paper mixes them is open: we take every picture as often."""
CACHE_JOBS = {"imagenet": 32, "sa-1b": 256}
CAPTIONS_DRAWN = 5000
"""Of held-out pictures, evenly spread. The paper shows pictures and measures none."""
WORDINGS = ("trained", "unseen")
DRAWN_BY = {name: SAMPLING[name] for name in ("paper", "unguided")}
CACHE = "systems.caption_stages:cache"


def measure(context: Context, *, names: Sequence[str]) -> dict[str, Any]:
    """Measure samples by classes where captions name photos, else by the captions' pictures."""
    if context.options.data:
        return measure_matches(context, names=names)
    return measure_samples(context, names=names)


# ---------------------------------------------------------------------- presets


def tiny_stages(options: Options) -> list[Stage]:
    """Crops of ten photos, each with three wordings, and small generators of them."""
    resources = Resources(memory_gb=3, minutes=30)
    prepare = Stage(
        name="prepare",
        function="systems.caption_data:prepare_captions",
        arguments={"counts": CROPS, "size": SIZE},
    )
    cached = small_caches(resources, CACHE)
    size = {"size": "small", "steps": STEPS, "model": SMALL_MODEL, "latents": ["train"]}
    return [
        prepare,
        *cached,
        *_runs(options, size, ENCODER, cached, resources),
        *_samples(options, ENCODER, CROPS["held-out"], 40, resources),
    ]


def paper_stages(options: Options) -> list[Stage]:
    """Table 5's other row of data, on four nodes of eight GPUs."""
    _check_options(options)
    # No mirrored copies: captions say what is on the left and on the right.
    settings = {"patches": 16, "levels": 4, "batch_size": 64}
    first = Stage(
        name="prepare",
        function="systems.caption_data:check_captions",
        arguments={
            "tokenizer": PAPER_TOKENIZER,
            "text_encoder": TEXT_ENCODER,
            "width": TEXT_WIDTH,
        },
        resources=MODELS,
    )
    cached = [
        stage
        for number, (name, pixels) in enumerate(DATA_SETS.items())
        for stage in caches(
            {"size": pixels, **settings},
            PAPER_TOKENIZER,
            {name: CACHE_JOBS[name]},
            MODELS,
            CACHE,
            of="train",
            source=number,
        )
    ]
    held_out = {"size": DATA_SETS["imagenet"], **settings}
    cached += caches(held_out, PAPER_TOKENIZER, {"held-out": 1}, MODELS, CACHE)
    steps = recipe_of(options).training.steps
    size = {"size": "paper", "steps": steps, "model": {}, "latents": list(DATA_SETS)}
    return [
        first,
        *cached,
        *_runs(options, size, TEXT_ENCODER, cached, TRAINING),
        *_samples(options, TEXT_ENCODER, CAPTIONS_DRAWN, 125, MODELS),
    ]


def _check_options(options: Options) -> None:
    """Check that both data sets and their captions are there.

    Raises:
        ValueError: if not.
    """
    data = paper_data(options, "ImageNet's pictures and SA-1B's, with pictures held out")
    if len(data) != len(DATA_SETS):
        raise ValueError(
            "`--data` must name two sources, ImageNet's pictures and then SA-1B's, which are "
            f"encoded at {' and '.join(map(str, DATA_SETS.values()))} px, but names {len(data)}. "
            "Name a folder or zip of each."
        )
    if options.labels is None:
        raise ValueError(
            "`--preset paper` must be given `--labels`, but it is missing. Name a table with the "
            "columns name, class (which may be empty) and caption, with a row for every picture; "
            "the paper's captions are Qwen2.5-VL's."
        )


def _runs(
    options: Options,
    size: dict[str, Any],
    text_encoder: str,
    cached: Sequence[Stage],
    resources: Resources,
) -> list[Stage]:
    after = tuple(stage.name for stage in cached)
    return runs(options, {**size, "text_encoder": text_encoder}, after, resources)


def _samples(
    options: Options, text_encoder: str, count: int, batch_size: int, resources: Resources
) -> list[Stage]:
    drawn = {
        f"{wording}-{name}": {
            "text_encoder": text_encoder,
            "wording": wording,
            "count": count,
            "settings": settings,
            "batch_size": batch_size,
        }
        for wording in ((FROM_DATA,) if options.data else WORDINGS)
        for name, settings in DRAWN_BY.items()
    }
    functions = ("systems.caption_stages:sample_captions", "text_to_image:measure")
    return samples(options, drawn, functions, resources)


# ---------------------------------------------------------------------- cost


def recipe_of(options: Options) -> Recipe:
    """Return the first seed's run, as if fitted to its text encoder; a run has its encoder's."""
    if options.preset == "paper":
        recipe, width = paper_generator(0), TEXT_WIDTH
    else:
        recipe, width = small_generator(0, steps=STEPS, **SMALL_MODEL), WIDTH
    return replace(
        recipe,
        name=f"{recipe.name}, text to image",
        model=replace(recipe.model, text_width=width),
    )


def plan(options: Options) -> str:
    """Say what a preset costs."""
    is_paper = options.preset == "paper"
    devices = 32 if is_paper else 1
    recipe = recipe_of(options)
    said = plan_of_generator(
        recipe, device=options.device, world_size=devices, checkpoint_activations=is_paper
    )
    parts = [f"1 run, {options.seeds} times, on {devices} devices", said]
    if is_paper:
        parts.append(_cost_of_captions(recipe))
    return "\n\n".join(parts)


def _cost_of_captions(recipe: Recipe) -> str:
    """Say what captions and two data sets cost, which the generator's own plan has without them."""
    model, training = recipe.model, recipe.training
    batch, tokens = training.batch_size, DEFAULT_LENGTH
    t, h, w = model.grid
    # Keys and values of a caption, and what the tokens of all levels take of them.
    keys = 2 * tokens * model.width * 2 * model.width
    attention = 4 * tokens * t * h * w * model.num_levels * model.width
    forward = model.blocks * (keys + attention)
    gibibytes = PICTURES * 2 * t * h * w * model.num_levels * model.latent_channels / 2**30
    jobs = sum(CACHE_JOBS.values())
    return (
        f"Captions of up to {tokens} tokens come on top: cross-attention, forward and backward, "
        f"{3 * forward * batch:.3g} FLOPs a step at most; {TEXT_ENCODER}, frozen, "
        f"{2 * TEXT_PARAMETERS * tokens * batch:.3g}, and {4 * TEXT_PARAMETERS / 2**30:.1f} GiB of "
        f"each device.\n"
        f"Latents of {PICTURES / 1e6:.1f} M pictures in float16: {gibibytes:.0f} GiB, by {jobs} "
        f"jobs of one GPU.\n"
        f"{len(DRAWN_BY)} x {CAPTIONS_DRAWN} samples of {PAPER_SAMPLING['steps']} steps, on one "
        "GPU each."
    )


EXPERIMENT = Experiment(
    name="text_to_image",
    title="Table 5: text to image",
    paper=(
        "ImageNet at 256 px and SA-1B at 512 px with captions by Qwen2.5-VL, 4 levels, "
        "cross-attention to the caption's states in every block; the text encoder is not named. "
        "Training and sampling as in train_dit. Pictures (Fig. 8, 9, 10); no figure is given."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": plan, "paper": plan},
    report="text_to_image:report",
    seeds={"tiny": 2, "paper": 1},
)

if __name__ == "__main__":
    main(EXPERIMENT)
