"""Figure 9: one latent at every size and frame rate, and aspect ratio from the noise's shape.

    python experiments/variable_scale.py
    python experiments/variable_scale.py --preset paper --held-out PHOTOS

Photos are encoded once and decoded at several sizes, clips once and decoded at several frame rates;
decodes are compared with one another, with the photo at that scale, and with the one decode at the
source's scale that is resized without a model. A generator draws samples on grids of several
shapes.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from costs.paper_scale import MODELS, PAPER_GENERATOR, PAPER_TOKENIZER
from dcs_common import Latents
from dcs_common.psnr import psnr
from dcs_common.resample import tail_aligned_frames
from dcs_dit import sample
from dcs_tok.patch_moments import detail
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.variable_scale import report
from scaling.agreement import (
    blended_frames,
    enlarged,
    rate_agreement,
    repeated_frames,
    size_agreement,
)
from scaling.models import (
    GENERATION_TOKENIZER,
    GENERATOR,
    load_generator,
    load_tokenizer,
    tokenizer_for,
)
from scaling.samples import samples
from sources.panning import panned_clip

__all__ = ["EXPERIMENT", "decode_rates", "decode_sizes", "generate_shapes", "report"]

SOURCE_SIDE, SIZES, SIZE_LEVELS = 256, (128, 192, 256, 384, 512), 4
SOURCE_RATE, RATES, RATE_LEVELS = 24, (12, 24, 48), 1
CLIP_SIDE, PAPER_CLIP_SIDE = 64, 256
PAN_SECONDS, CLIP_SECONDS = 2.0, 0.5
MOST_PICTURES, MOST_CLIPS = 200, 6
TINY_GRIDS, PAPER_GRIDS = ((4, 4), (4, 8), (8, 4)), ((16, 16), (16, 32), (32, 16))
TINY_LEVELS, PAPER_LEVELS = 2, 4
"""Of generated samples; the small generator is at its best with one or two."""
GENERATED_SIZES = (1.0, 1.5, 2.0)
"""Sizes of generated samples, as multiples of the trained one (256 to 512 px in Fig. 9a)."""


@torch.no_grad()
def decode_sizes(
    context: Context, *, model: str, levels: int, source: int, sizes: Sequence[int], most: int
) -> dict[str, Any]:
    """Decode one latent of each photo at every size; keep those of the first photo."""
    tok = load_tokenizer(model, context.device)
    rows = []
    for number, one in enumerate(samples(context.options, most=most)):
        original = one.at(source).to(context.device)
        latents = tok.encode(original, levels=levels)
        reference = tok.decode(latents)
        own = psnr(reference, original)
        shown = []
        for size in sizes:
            decoded = tok.decode(latents, (size, size))
            shown.append(decoded[0])
            values: dict[str, Any] = {"sample": one.name, "size": size, "own": own}
            if size != source:
                values["agreement"] = size_agreement(decoded, reference)
            if size <= one.side:
                truth = one.at(size).to(context.device)
                values["decoded"] = psnr(decoded, truth)
                values["resized"] = psnr(enlarged(reference, (size, size)), truth)
            rows.append(values)
        if number == 0:
            _save(context, "sizes.pt", shown)
    return {"rows": rows}


@torch.no_grad()
def decode_rates(
    context: Context,
    *,
    model: str,
    levels: int,
    source: int,
    rates: Sequence[int],
    side: int,
    most: int,
) -> dict[str, Any]:
    """Decode one latent of each clip at every frame rate; keep those of the first clip."""
    tok = load_tokenizer(model, context.device)
    fastest = max(rates)
    frames = round(CLIP_SECONDS * fastest)
    found = samples(context.options)
    rows = []
    for number, one in enumerate(found[:: -(-len(found) // most)]):
        clip = panned_clip(
            one.pixels[0], seconds=PAN_SECONDS, fps=fastest, size=(side, side), seed=0
        )
        truth = clip[None, :, -frames:].to(context.device)
        original = _at_rate(truth, fastest, source)
        latents = tok.encode(original, source, levels=levels)
        reference = tok.decode(latents)
        own = psnr(reference, original)
        shown = []
        for rate in rates:
            decoded = tok.decode(latents, fps=rate)
            shown.append(decoded[0])
            values = {"sample": one.name, "rate": rate, "own": own}
            if rate != source:
                values["agreement"] = rate_agreement(decoded, rate, reference, source)
            at_rate = _at_rate(truth, fastest, rate)
            values["decoded"] = psnr(decoded, at_rate)
            values["repeated"] = psnr(repeated_frames(reference, source, rate), at_rate)
            values["blended"] = psnr(blended_frames(reference, source, rate), at_rate)
            rows.append(values)
        if number == 0:
            _save(context, "rates.pt", shown)
    return {"rows": rows}


@torch.no_grad()
def generate_shapes(
    context: Context,
    *,
    generator: str,
    tokenizer: str,
    grids: Sequence[Sequence[int]],
    labels: Sequence[int],
    levels: int,
    seed: int,
    sizes: Sequence[float],
) -> dict[str, Any]:
    """Sample every grid for the same classes and seeds; decode the first also at other sizes."""
    dit = load_generator(generator, context.device)
    tok = load_tokenizer(tokenizer, context.device)
    asked = list(labels) if dit.config.labels else None
    rows, shown = [], []
    for grid in grids:
        latents = sample(
            dit,
            labels=asked,
            grid=grid,
            levels=levels,
            seeds=[seed + i for i in range(len(labels))],
        )
        pixels = tok.decode(latents)
        shown.append(pixels)
        rows.append(
            {
                "grid": list(grid),
                "size": list(pixels.shape[-2:]),
                "detail": [detail(one[None].cpu()) for one in pixels],
                "halves": [_between_halves(one) for one in pixels],
            }
        )
        if len(shown) == 1:
            agreements = _at_sizes(context, tok, latents, pixels, sizes)
    _save(context, "shapes.pt", shown)
    return {"rows": rows, "agreements": agreements}


def _at_sizes(
    context: Context, tok: Any, latents: Latents, pixels: Tensor, sizes: Sequence[float]
) -> list[dict[str, Any]]:
    height, width = pixels.shape[-2:]
    decodes = [tok.decode(latents, (round(s * height), round(s * width))) for s in sizes]
    _save(context, "generated-sizes.pt", [one[0] for one in decodes])
    return [
        {
            "size": list(decoded.shape[-2:]),
            "agreement": [
                size_agreement(a[None], b[None]) for a, b in zip(decoded, pixels, strict=True)
            ],
        }
        for decoded in decodes
        if decoded.shape != pixels.shape
    ]


def _between_halves(pixels: Tensor) -> float:
    """Return the PSNR of two halves of the longer side; a sample that repeats has a high one."""
    dim = -1 if pixels.shape[-1] >= pixels.shape[-2] else -2
    first, second = pixels.chunk(2, dim=dim)
    return psnr(first, second)


def _at_rate(clip: Tensor, rate: int, target: int) -> Tensor:
    return clip[:, :, tail_aligned_frames(clip.shape[2], Fraction(rate), Fraction(target))]


def _save(context: Context, name: str, tensors: Sequence[Tensor]) -> None:
    torch.save([one.mul(255).round().byte().cpu() for one in tensors], context.folder / name)


# ---------------------------------------------------------------------- presets


def tiny_stages(options: Options) -> list[Stage]:
    """The models that ship; a minute or two."""
    models = (tokenizer_for(options.preset), GENERATOR, GENERATION_TOKENIZER)
    shapes = (TINY_GRIDS, TINY_LEVELS, range(10))
    return _stages(models, CLIP_SIDE, shapes, Resources(memory_gb=4))


def paper_stages(options: Options) -> list[Stage]:
    """The models of Tables 4 and 5 on one GPU; 16 classes spread over ImageNet's."""
    if not options.held_out:
        raise ValueError(
            "`--preset paper` must be given `--held-out`, but it is missing. Name photos with 512 "
            "px or more on the short side."
        )
    models = (PAPER_TOKENIZER, PAPER_GENERATOR, PAPER_TOKENIZER)
    shapes = (PAPER_GRIDS, PAPER_LEVELS, range(0, 1000, 63))
    return _stages(models, PAPER_CLIP_SIDE, shapes, MODELS)


def _stages(
    models: tuple[str, str, str],
    clip_side: int,
    shapes: tuple[Sequence[tuple[int, int]], int, Sequence[int]],
    resources: Resources,
) -> list[Stage]:
    tokenizer, generator, its_tokenizer = models
    grids, levels, labels = shapes
    return [
        Stage(
            name="decode-sizes",
            function="variable_scale:decode_sizes",
            arguments={
                "model": tokenizer,
                "levels": SIZE_LEVELS,
                "source": SOURCE_SIDE,
                "sizes": list(SIZES),
                "most": MOST_PICTURES,
            },
            resources=resources,
        ),
        Stage(
            name="decode-rates",
            function="variable_scale:decode_rates",
            arguments={
                "model": tokenizer,
                "levels": RATE_LEVELS,
                "source": SOURCE_RATE,
                "rates": list(RATES),
                "side": clip_side,
                "most": MOST_CLIPS,
            },
            resources=resources,
        ),
        Stage(
            name="generate-shapes",
            function="variable_scale:generate_shapes",
            arguments={
                "generator": generator,
                "tokenizer": its_tokenizer,
                "grids": [list(grid) for grid in grids],
                "labels": list(labels),
                "levels": levels,
                "seed": 0,
                "sizes": list(GENERATED_SIZES),
            },
            resources=resources,
        ),
    ]


def _plan(options: Options) -> str:
    tokenizer, generator = tokenizer_for(options.preset), GENERATOR
    if options.preset != "tiny":
        generator = PAPER_GENERATOR
    return (
        f"Nothing is trained: {tokenizer} encodes photos once and decodes them at {len(SIZES)} "
        f"sizes and {len(RATES)} frame rates, {generator} draws samples on 3 grids. Minutes on "
        f"{'one CPU core' if options.preset == 'tiny' else 'one GPU'}, 4 GB of memory."
    )


EXPERIMENT = Experiment(
    name="variable_scale",
    title="Figure 9: one latent at every size, frame rate and aspect ratio",
    paper=(
        "Samples of four levels decoded at 256 to 512 px and clips of one level at 12, 24 and 48 "
        "fps keep semantics and structure; a grid of 16 x 32 patches gives an aspect ratio of 1:2 "
        "without any other signal. Pictures, no figures."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": _plan, "paper": _plan},
    report="variable_scale:report",
)

if __name__ == "__main__":
    main(EXPERIMENT)
