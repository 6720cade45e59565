"""Training a recipe from Python; ``dcs-dit train`` is this with a command line.

    result = train_generator(nano(), Inputs(data=(Path("latents"),)), Path("runs/mine"))

A folder that holds a checkpoint is gone on from.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcs_common.config import config_to_dict
from dcs_common.machine import check_device, check_seed
from dcs_common.training import TrainingResult, World, joined_world
from dcs_common.training.checkpoint import CHECKPOINT_FILE
from dcs_common.training.command import MODEL_FOLDER, run_in_folder
from dcs_dit.config import DCSDiTConfig
from dcs_dit.data.latent_cache import LatentCache
from dcs_dit.data.latent_form import check_form, holds_posteriors, latent_form
from dcs_dit.data.latent_moments import LatentStatistics
from dcs_dit.data.source import LatentBatch, LatentSource
from dcs_dit.model import DCSDiT
from dcs_dit.text import TextEncoder
from dcs_dit.training.initialise import initialise
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.task import GeneratorTask

_HELD_OUT = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a run reads and where it works; nothing here is part of its recipe.

    Attributes:
        data: folders of latents that ``dcs-dit cache`` wrote.
        init_from: folder, name or hub id of a model to start from.
        text_encoder: folder or hub id; condition on captions.
        validate: a folder of latents held out.
        checkpoint_activations: trade time for memory.
        device: torch device.
    """

    data: tuple[Path, ...]
    init_from: str | None = None
    text_encoder: str | None = None
    validate: Path | None = None
    checkpoint_activations: bool = False
    device: str = "cpu"


def train_generator(
    recipe: Recipe,
    inputs: Inputs,
    folder: Path,
    *,
    arguments: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """Train in a folder, or go on there; write ``folder/model`` when all steps are done.

    Among several processes (:func:`dcs_common.training.joined_world`) all of them call this, and
    the main one writes.

    Args:
        recipe: what is trained and how; the latents fill in what they decide.
        inputs: what it reads.
        folder: the run's.
        arguments: what the run's record says it was called with; ``inputs`` if None.

    Returns:
        What was done; ``finished`` is False after SIGTERM, SIGINT or a scheduler's warning, with
        the checkpoint written.

    Raises:
        ValueError: if the latents, the device, the seed or what to start from are of no use, or
            the folder holds another run.
        TrainingDiverged, CheckpointError: as :func:`dcs_common.training.train`.
    """
    if not inputs.data:
        raise ValueError(
            "`--data` must name a cache of latents, but is empty. Make one with `dcs-dit cache`."
        )
    check_seed(recipe.training.seed)
    check_device(inputs.device, each_its_own=True)
    if arguments is None:
        arguments = {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    cache = LatentCache.open_all(inputs.data)
    with joined_world(inputs.device) as world:
        # Not before the process has its device: "cuda" would be the first one's.
        encoder = _text_encoder(inputs, cache, world)
        if encoder is not None:
            conditioned = replace(
                recipe.model,
                text_width=encoder.width,
                text_encoder=inputs.text_encoder,
                text_fingerprint=getattr(encoder, "fingerprint", None),
            )
            recipe = replace(recipe, model=conditioned)
        recipe = replace(recipe, model=fitted_config(recipe, cache))
        held_out = None if inputs.validate is None else _held_out(inputs.validate, cache, recipe)
        recipe.training.samples_per_share(world.size)
        source = LatentSource(cache, recipe.training.seed)
        identity = config_to_dict(recipe) | {"data": source.fingerprint}
        result = run_in_folder(
            lambda: _task(inputs, recipe, cache, encoder, held_out, world, folder),
            source,
            recipe.training,
            folder,
            world=world,
            identity=identity,
            arguments=arguments,
            package="dcs-dit",
        )
        if result.finished and world.is_main:
            _write_model(result, folder)
        return result


def fitted_config(recipe: Recipe, cache: LatentCache) -> DCSDiTConfig:
    """Return the model's config for the latents of a cache.

    Raises:
        ValueError: if the latents have too few levels, other channels or another form.
    """
    config = recipe.model
    check_form(config.latent_form, cache)
    form = latent_form(config.latent_form)
    channels = form.channels(cache.channels, is_posterior=holds_posteriors(cache))
    if cache.num_levels < config.num_levels or channels != config.latent_channels:
        raise ValueError(
            f"The latents must have {config.num_levels} levels or more of "
            f"{config.latent_channels} channels, but the cache holds {cache.num_levels} of "
            f"{channels}. Cache the latents of another tokenizer, or of more levels."
        )
    dropouts = [recipe.label_dropout] * bool(cache.label_names)
    dropouts += [recipe.text_dropout] * (config.text_width is not None)
    return replace(
        config,
        trained_levels=recipe.levels,
        has_unconditional=all(dropouts),
        labels=cache.label_names,
        grid=form.grid(cache.grid),
        patch_pixels=round(min(cache.size) / min(cache.grid[1:])),
        fps=cache.fps,
        segments_per_second=cache.segments_per_second or config.segments_per_second,
        tokenizer=cache.tokenizer,
        tokenizer_model=cache.tokenizer_model,
    )


def _task(
    inputs: Inputs,
    recipe: Recipe,
    cache: LatentCache,
    encoder: TextEncoder | None,
    held_out: LatentBatch | None,
    world: World,
    folder: Path,
) -> GeneratorTask:
    torch.manual_seed(recipe.training.seed)
    dit = DCSDiT(recipe.model)
    dit.checkpoint_activations = inputs.checkpoint_activations
    form = latent_form(recipe.model.latent_form)
    statistics = form.statistics(cache, recipe.model.latent_channels)
    _copy(statistics.tokens, dit.latent_mean, dit.latent_std)
    if statistics.condition is not None:
        _copy(statistics.condition, dit.condition_mean, dit.condition_std)
    if inputs.init_from is not None and not (folder / CHECKPOINT_FILE).exists():
        said = initialise(dit, inputs.init_from)
        if world.is_main:
            print(f"dcs-dit: {said}", file=sys.stderr)
    return GeneratorTask(dit.to(world.device), recipe, text_encoder=encoder, held_out=held_out)


def _copy(statistics: LatentStatistics, mean: Tensor, std: Tensor) -> None:
    """Copy those of the model's levels."""
    mean.copy_(statistics.mean[: len(mean)])
    # What never changes carries nothing: any deviation brings it to zero.
    std.copy_(torch.where(statistics.std > 0, statistics.std, 1.0)[: len(std)])


def _text_encoder(inputs: Inputs, cache: LatentCache, world: World) -> TextEncoder | None:
    if inputs.text_encoder is None:
        return None
    if cache.captions([0]) is None:
        raise ValueError(
            "`--text-encoder` needs latents with captions, but the cache has none. Make it with a "
            "table that has a column `caption`."
        )
    from dcs_dit.transformers_text import TransformersTextEncoder

    return TransformersTextEncoder(inputs.text_encoder, device=world.device)


def _held_out(folder: Path, cache: LatentCache, recipe: Recipe) -> LatentBatch:
    """Read some latents to validate on.

    Raises:
        ValueError: if they are not of the same kind as those of training, or never looked at.
    """
    other = LatentCache.open(folder)
    levels = recipe.levels or recipe.model.num_levels
    if other.num_levels < levels:
        raise ValueError(
            f"Latents held out must have the {levels} levels that are trained, but {folder} has "
            f"{other.num_levels}. Cache them with the same settings."
        )
    for what in ("tokenizer", "grid", "label_names", "fps"):
        there, here = getattr(other, what), getattr(cache, what)
        if there != here:
            raise ValueError(
                f"Latents held out must have the same {what} as those of `--data`, but {folder} "
                f"has {there}, not {here}. Cache them with the same settings."
            )
    count = min(len(other), _HELD_OUT)
    indices = [i * len(other) // count for i in range(count)]
    return LatentBatch(other.tokens(indices), other.labels[indices], other.captions(indices))


def _write_model(result: TrainingResult, folder: Path) -> None:
    model = result.model.eval()
    assert isinstance(model, DCSDiT), "the task's first network is the generator"
    model.save_pretrained(folder / MODEL_FOLDER)
