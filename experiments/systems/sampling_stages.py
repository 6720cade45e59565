"""Stages that draw samples of every class into ``samples/NAME/level-M/CLASS/``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from costs.paper_scale import check_model
from dcs_common.latents import Latents
from dcs_dit import DCSDiT, sample
from dcs_dit.sampling.sample_files import SampleFiles
from dcs_eval.tokenizer_arguments import load_tokenizer
from launching import Context
from systems.commands import dcs_dit
from systems.generator_stages import TOKENIZER, model_of


def sample_levels(
    context: Context,
    *,
    model: str,
    count: int,
    settings: Mapping[str, Any],
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Draw samples of all levels, and decode them from every number of levels.

    Levels are causal: the first m of what is drawn jointly are what m levels alone would give.

    Args:
        context: of the stage.
        model: a run of this experiment.
        count: samples of each class.
        settings: of :func:`dcs_dit.sample`.
        batch_size: samples at a time.
        seed: of the first sample.
    """
    dit = DCSDiT.from_pretrained(model_of(context, model)).to(context.device)
    device = torch.device(context.device)
    tokenizer = load_tokenizer(TOKENIZER, dit.config.tokenizer_model, device)
    files = SampleFiles(own_samples(context), tokenizer)
    classes = dit.config.labels
    items = [(label, number) for label in range(len(classes)) for number in range(count)]
    for first in range(0, len(items), batch_size):
        batch = items[first : first + batch_size]
        latents = sample(
            dit,
            labels=[label for label, _ in batch],
            seeds=[1_000_000 * seed + 1000 * label + number for label, number in batch],
            **settings,
        )
        write_levels(files, latents, [f"{classes[label]}/{number:05d}" for label, number in batch])
    files.finish()
    return {"samples": len(items), "levels": dit.config.num_levels}


def write_levels(files: SampleFiles, latents: Latents, names: Sequence[str]) -> None:
    """Write what every number of levels decodes to."""
    for level in range(1, latents.num_levels + 1):
        files.write(level, latents.take_levels(level), names)


def sample_one_level(
    context: Context,
    *,
    model: str,
    counts: Mapping[str, int],
    guidance_scale: float,
    batch_size: int,
) -> dict[str, Any]:
    """Draw samples of the first level alone as ``dcs-dit sample`` does, for Tables 1 and 2.

    Args:
        context: of the stage; stages NAME.0, NAME.1 and so on fill one folder.
        model: a run of this experiment, or the folder of another's model.
        counts: "first" and "count" of the samples of each class, and perhaps "classes": of the
            first so many alone.
        guidance_scale: 1 for none.
        batch_size: samples at a time.
    """
    check_model(model, "train_dit")
    found = Path(model) if model.startswith("runs/") else model_of(context, model)
    labels = ["all"]
    if "classes" in counts:
        labels = [str(number) for number in range(counts["classes"])]
    said = dcs_dit(
        *("sample", "--model", found, "--label", *labels, "--levels", 1),
        *("--first", counts["first"], "--count", counts["count"]),
        *("--guidance-scale", guidance_scale, "--batch-size", batch_size),
        *("--precision", "bfloat16" if context.device.startswith("cuda") else "float32"),
        *("--device", context.device, "--output", own_samples(context)),
    )
    return {"said": said.rpartition(" in ")[0].rpartition("/")[2]}


def samples_of(context: Context, name: str) -> Path:
    """Return the folder of samples of a name."""
    return context.run / "samples" / name


def own_samples(context: Context) -> Path:
    """Return the folder that a stage draws into; stages NAME.0, NAME.1 and so on share one."""
    folder = samples_of(context, context.stage.partition(".")[0])
    folder.parent.mkdir(exist_ok=True)
    return folder
