"""Figures 6 and 7: what levels buy at every scale, sample by sample.

    python experiments/complexity_and_scale.py
    python experiments/complexity_and_scale.py --preset paper --data IMAGENET --held-out PHOTOS

Photos at several sizes and clips at several frame rates are encoded at their own scale and decoded
from every level count. Beside that, three tokenizers on the same blocks are trained and measured:
DCS, a vanilla one whose tokens grow with the pixels, and one of fixed capacity.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch

from costs.paper_scale import MODELS, TRAINING, paper_data
from costs.training_plans import tokenizer_plan
from dcs_common.resample import resize, tail_aligned_frames
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.complexity_and_scale import report
from scaling.curves import measure_curve
from scaling.models import load_tokenizer, tokenizer_for
from scaling.rivals import RIVALS, compare_rivals, rival, train_rival
from scaling.samples import LARGEST_SIDE, samples
from sources.panning import panned_clip

__all__ = [
    "EXPERIMENT",
    "compare_rivals",
    "measure_clips",
    "measure_pictures",
    "report",
    "train_rival",
]

SIDES = (64, 96, 128, 192, 256, 384, 512)
PAPER_SIDES = (128, 192, 256, 384, 512, 720)
RATES = (12, 24, 48)
CLIP_SIDE, PAPER_CLIP_SIDE = 64, 256
PAN_SECONDS, CLIP_SECONDS = 2.0, 0.5
"""A slow pan, of which the end is measured."""
STEPS, PAPER_STEPS = 100, 100_000
RIVAL_SIDES, RIVAL_LEVELS = (64, 128, 256), (1, 2, 4, 8)
PAPER_RIVAL_SIDES = (128, 256, 512)
MOST_PICTURES, MOST_CLIPS = 200, 6
_THUMBNAIL = 96


def measure_pictures(
    context: Context, *, model: str, sides: Sequence[int], most: int
) -> dict[str, Any]:
    """Measure every sample at every side that it has, and keep small pictures of them."""
    tok = load_tokenizer(model, context.device)
    found = samples(context.options, most=most, largest=max(LARGEST_SIDE, *sides))
    curves = [
        measure_curve(tok, sample.name, side, sample.at(side)).to_json()
        for sample in found
        for side in sides
        if side <= sample.side
    ]
    small = {one.name: resize(one.pixels[0], (_THUMBNAIL, _THUMBNAIL)).clamp(0, 1) for one in found}
    torch.save(small, context.folder / "thumbnails.pt")
    return {"curves": curves, "complexity": {one.name: one.complexity for one in found}}


def measure_clips(
    context: Context, *, model: str, rates: Sequence[int], side: int, most: int
) -> dict[str, Any]:
    """Measure clips of a window that moves over photos, at every frame rate."""
    tok = load_tokenizer(model, context.device)
    fastest = max(rates)
    frames = round(CLIP_SECONDS * fastest)
    found = samples(context.options)
    curves = []
    for sample in sorted(found, key=lambda one: one.complexity)[:: -(-len(found) // most)]:
        photo = sample.pixels[0]
        clip = panned_clip(photo, seconds=PAN_SECONDS, fps=fastest, size=(side, side), seed=0)
        clip = clip[None, :, -frames:]
        for rate in rates:
            chosen = tail_aligned_frames(frames, Fraction(fastest), Fraction(rate))
            curves.append(measure_curve(tok, sample.name, rate, clip[:, :, chosen], rate).to_json())
    return {"curves": curves}


# ---------------------------------------------------------------------- presets


def tiny_stages(options: Options) -> list[Stage]:
    """The tokenizer that ships, and three of its size trained for a minute each."""
    one = Resources(memory_gb=4)
    return _stages(options, SIDES, CLIP_SIDE, STEPS, RIVAL_SIDES, (one, one), options.data)


def paper_stages(options: Options) -> list[Stage]:
    """DCS-Tok of Table 4 up to 720 px, and rivals of its size, each as long as its first stage."""
    data = paper_data(options, "pictures to train on (ImageNet), and held-out ones of 720 px")
    sides = (PAPER_SIDES, PAPER_CLIP_SIDE, PAPER_STEPS, PAPER_RIVAL_SIDES)
    return _stages(options, *sides, (TRAINING, MODELS), data)


def _stages(
    options: Options,
    sides: tuple[int, ...],
    clip_side: int,
    steps: int,
    rival_sides: tuple[int, ...],
    resources: tuple[Resources, Resources],
    data: tuple[str, ...],
) -> list[Stage]:
    training, measuring = resources
    model = tokenizer_for(options.preset)
    pictures = Stage(
        name="measure-pictures",
        function="complexity_and_scale:measure_pictures",
        arguments={"model": model, "sides": list(sides), "most": MOST_PICTURES},
        resources=measuring,
    )
    clips = Stage(
        name="measure-clips",
        function="complexity_and_scale:measure_clips",
        arguments={"model": model, "rates": list(RATES), "side": clip_side, "most": MOST_CLIPS},
        resources=measuring,
    )
    runs = [
        Stage(
            name=f"train-{kind}-seed-{seed}",
            function="complexity_and_scale:train_rival",
            arguments={
                "preset": options.preset,
                "kind": kind,
                "seed": seed,
                "steps": steps,
                "data": list(data),
            },
            resources=training,
            array="train",
        )
        for seed in range(options.seeds)
        for kind in RIVALS
    ]
    comparison = Stage(
        name="compare-rivals",
        function="complexity_and_scale:compare_rivals",
        arguments={
            "seeds": options.seeds,
            "sides": list(rival_sides),
            "levels": list(RIVAL_LEVELS),
            "most": MOST_PICTURES,
        },
        after=tuple(stage.name for stage in runs),
        resources=measuring,
    )
    return [pictures, clips, *runs, comparison]


def _plan(options: Options) -> str:
    steps = STEPS if options.preset == "tiny" else PAPER_STEPS
    recipes = [rival(options.preset, kind, 0, steps) for kind in RIVALS]
    return tokenizer_plan(recipes, options, runs=options.seeds)


EXPERIMENT = Experiment(
    name="complexity_and_scale",
    title="Figures 6 and 7: levels, scale and content",
    paper=(
        "PSNR of two simple and two complex pictures over resolution and level count, and of clips "
        "over frame rate and level count. For a given sample tokens grow sublinearly with scale at "
        "equal PSNR; linear growth raises PSNR with scale, a fixed number lowers it; a large "
        "simple sample may be better than a small complex one. No exponent is given."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": _plan, "paper": _plan},
    report="complexity_and_scale:report",
    seeds={"tiny": 1, "paper": 1},
)

if __name__ == "__main__":
    main(EXPERIMENT)
