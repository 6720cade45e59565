"""Stages of a generator that captions guide: its latents, its samples, what these have of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dcs_dit import DCSDiT, sample
from dcs_dit.data.picture_files import PictureReader
from dcs_dit.data.picture_pixels import decode_pixels
from dcs_dit.sampling.sample_files import SampleFiles
from dcs_dit.transformers_text import TransformersTextEncoder
from dcs_eval import PictureSet
from dcs_eval.labelled_files import find_levels
from dcs_eval.picture_set import embed
from dcs_eval.tokenizer_arguments import load_tokenizer
from launching import Context
from systems.caption_data import captioned, pictures_of_prompts, prompts
from systems.generator_stages import TOKENIZER, encode, encoder_of, model_of
from systems.pooled_colours import feature_space
from systems.sample_measures import measure_samples
from systems.sampling_stages import own_samples, samples_of, write_levels


def cache(
    context: Context,
    *,
    name: str,
    tokenizer: str,
    settings: Mapping[str, Any],
    jobs: int = 1,
    job: int = 0,
    of: str | None = None,
    source: int | None = None,
) -> dict[str, Any]:
    """Encode pictures with captions; several jobs share the work.

    Args:
        context: of the stage.
        name: of the latents.
        tokenizer, settings, jobs, job: as of :func:`systems.generator_stages.cache`.
        of: "train" or "held-out", where that is not the name.
        source: number of the path to take alone, of those of the command line.
    """
    samples = captioned(context, of or name, source)
    return encode(
        context, samples, name=name, tokenizer=tokenizer, settings=settings, jobs=jobs, job=job
    )


def sample_captions(
    context: Context,
    *,
    model: str,
    text_encoder: str,
    wording: str,
    count: int,
    settings: Mapping[str, Any],
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Draw samples of all levels by captions, and decode them from every number of levels.

    Args:
        context: of the stage.
        model: a run of this experiment.
        text_encoder: that it was trained with, as its stage names it.
        wording, count: as of :func:`systems.caption_data.prompts`.
        settings: of :func:`dcs_dit.sample`.
        batch_size: samples at a time.
        seed: of the first sample.
    """
    dit = DCSDiT.from_pretrained(model_of(context, model)).to(context.device)
    encoder = TransformersTextEncoder(encoder_of(context, text_encoder), device=context.device)
    tokenizer = load_tokenizer(TOKENIZER, dit.config.tokenizer_model, torch.device(context.device))
    files = SampleFiles(own_samples(context), tokenizer)
    asked = prompts(context, wording, count)
    for first in range(0, len(asked), batch_size):
        batch = asked[first : first + batch_size]
        latents = sample(
            dit,
            texts=[caption for _, caption in batch],
            text_encoder=encoder,
            seeds=[1_000_000 * seed + first + i for i in range(len(batch))],
            **settings,
        )
        write_levels(files, latents, [name for name, _ in batch])
    files.finish()
    return {"samples": len(asked), "levels": dit.config.num_levels}


# ---------------------------------------------------------------------- without classes


def measure_matches(context: Context, *, names: Sequence[str]) -> dict[str, Any]:
    """Return distances to held-out pictures, and how well samples fit their own captions' pictures.

    That is "matched": of all pairs of a sample and another caption's picture, the share in which
    the sample's features lie nearer to those of its own caption's picture. Captions that decide
    nothing give a half.

    Args:
        context: of the stage.
        names: of samples by captions of held-out pictures, in ``samples/NAME``.
    """
    found = measure_samples(context, names=names, probe=False)
    space = feature_space(context.options.feature_weights, context.device)
    real: Tensor | None = None
    for name in names:
        for level, files in find_levels(samples_of(context, name)).items():
            drawn = embed(PictureSet(pictures=files), space, f"level {level}")
            if real is None:
                pictures = _pictures(context, drawn.count, next(iter(drawn.sizes)))
                real = embed(PictureSet(pictures=pictures), space, "the captions'").features
            found["samples"][name][str(level)]["matched"] = matched_share(drawn.features, real)
    return found


def matched_share(samples: Tensor, pictures: Tensor) -> float:
    """Return in how many pairs (i, j) sample i is nearer to picture i than to picture j.

    Args:
        samples, pictures: features (n, d), those of one caption in one row.
    """
    distances = torch.cdist(samples.double(), pictures.double())
    own = distances.diagonal()[:, None]
    nearer = (own < distances).double() + 0.5 * (own == distances).double()
    others = ~torch.eye(len(samples), dtype=torch.bool, device=samples.device)
    return float(nearer[others].mean())


def _pictures(context: Context, count: int, size: tuple[int, int]) -> Iterator[Tensor]:
    """Yield the pictures of captions (1, 3, H, W) as the generator's were: scaled and cropped."""
    reader = PictureReader()
    try:
        for picture in pictures_of_prompts(context, count):
            yield decode_pixels(reader.read(picture.file), size)[None].float() / 255
    finally:
        reader.close()
