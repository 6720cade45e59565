"""Training a recipe from Python; ``dcs-tok train`` is this with a command line.

    result = train_tokenizer(replace(nano(), ...), Inputs(data=("pictures/",)), Path("runs/mine"))

A folder that holds a checkpoint is gone on from.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcs_common.config import config_to_dict
from dcs_common.machine import check_device, check_seed
from dcs_common.training import BatchSource, Share, TrainingResult, World, joined_world
from dcs_common.training.checkpoint import CHECKPOINT_FILE
from dcs_common.training.command import MODEL_FOLDER, run_in_folder
from dcs_tok.data import LaneConfig, LoadingConfig, PictureAndClipSource, ShardSource
from dcs_tok.losses.perceptual import PerceptualLoss
from dcs_tok.pictures import read_picture
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training.initialise import initialise
from dcs_tok.training.latent_statistics import measure_latents
from dcs_tok.training.recipe import Recipe
from dcs_tok.training.rescale_latents import denoising_scales, rescale_latents
from dcs_tok.training.task import TokenizerTask

_STATISTICS_BATCHES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a run reads and where it works; nothing here is part of its recipe.

    Attributes:
        data: folders, zips and files of pictures and clips, or WebDataset shards (``*.tar``).
        clip_shards: WebDataset shards of clips.
        samples_per_shard: in a full WebDataset shard.
        init_from: folder, name or hub id of a model, or a linear path, to start from.
        validate: pictures to validate on.
        workers, cache_mib: as in :class:`dcs_tok.data.LoadingConfig`.
        trunk_weights, perceptual_heads: files of the perceptual loss.
        checkpoint_activations: trade time for memory.
        device: torch device.
    """

    data: tuple[str | Path, ...]
    clip_shards: tuple[str, ...] = ()
    samples_per_shard: int | None = None
    init_from: str | None = None
    validate: tuple[Path, ...] = ()
    workers: int = 0
    cache_mib: int = 0
    trunk_weights: Path | None = None
    perceptual_heads: Path | None = None
    checkpoint_activations: bool = False
    device: str = "cpu"


def train_tokenizer(
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
        recipe: what is trained and how.
        inputs: what it reads.
        folder: the run's.
        arguments: what the run's record says it was called with; ``inputs`` if None.

    Returns:
        What was done; ``finished`` is False after SIGTERM, SIGINT or a scheduler's warning, with
        the checkpoint written.

    Raises:
        ValueError: if the data, the device, the seed or what to start from are of no use, or the
            folder holds another run.
        TrainingDiverged, CheckpointError: as :func:`dcs_common.training.train`.
    """
    if not inputs.data:
        raise ValueError("`--data` must name pictures, but is empty. Give folders, zips or shards.")
    check_seed(recipe.training.seed)
    check_device(inputs.device, each_its_own=True)
    if arguments is None:
        arguments = {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    with joined_world(inputs.device) as world:
        recipe.training.samples_per_share(world.size)
        source = _source(inputs, recipe, world)
        identity = config_to_dict(recipe) | {"data": source.fingerprint}
        result = run_in_folder(
            lambda: _task(inputs, recipe, source, world, folder),
            source,
            recipe.training,
            folder,
            world=world,
            identity=identity,
            arguments=arguments,
            package="dcs-tok",
        )
        if result.finished and world.is_main:
            _write_model(recipe, result, source, folder)
        return result


def _source(inputs: Inputs, recipe: Recipe, world: World) -> PictureAndClipSource | ShardSource:
    loading = LoadingConfig(
        workers=inputs.workers, cache_mib=inputs.cache_mib, pin_memory=world.device.type == "cuda"
    )
    seed = recipe.training.seed
    if any(str(source).endswith(".tar") for source in inputs.data):
        if inputs.samples_per_shard is None:
            raise ValueError(
                "`--samples-per-shard` must be given for WebDataset shards, but is not. It decides "
                "where a run goes on in them; take the number in a full shard."
            )
        lanes = LaneConfig(samples_per_shard=inputs.samples_per_shard)
        return ShardSource(
            [str(shard) for shard in inputs.data],
            recipe.scales,
            lanes,
            seed=seed,
            clip_shards=inputs.clip_shards,
            config=loading,
        )
    return PictureAndClipSource(inputs.data, recipe.scales, seed=seed, config=loading)


def _task(
    inputs: Inputs, recipe: Recipe, source: BatchSource, world: World, folder: Path
) -> TokenizerTask:
    torch.manual_seed(recipe.training.seed)
    tok = DCSTok(recipe.model)
    tok.checkpoint_activations = inputs.checkpoint_activations
    resumes = (folder / CHECKPOINT_FILE).exists()
    if inputs.init_from is not None and not resumes:
        said = initialise(
            tok,
            inputs.init_from,
            grows_levels=recipe.grows_levels,
            grows_blocks=recipe.grows_blocks,
        )
        if world.is_main:
            print(f"dcs-tok: {said}", file=sys.stderr)
        if recipe.initial_latent_std is not None:
            found = measure_latents(tok.eval(), source.batches(_statistics_shares(recipe)))
            rescale_latents(tok.train(), denoising_scales(found.std, recipe.initial_latent_std))
    perceptual = None
    if recipe.losses.perceptual:
        perceptual = PerceptualLoss(
            recipe.losses.perceptual_trunk,
            trunk_weights=inputs.trunk_weights,
            heads=inputs.perceptual_heads,
            max_size=recipe.losses.perceptual_size,
        ).to(world.device)
    validation = _read_all(inputs.validate)
    return TokenizerTask(tok.to(world.device), recipe, perceptual=perceptual, validation=validation)


def _read_all(paths: Sequence[Path]) -> list[Tensor]:
    return [read_picture(path).pixels for path in paths]


def _write_model(recipe: Recipe, result: TrainingResult, source: BatchSource, folder: Path) -> None:
    """Write the model folder, and measure the latents of what was written."""
    model = result.model.eval()
    assert isinstance(model, DCSTok), "the task's first network is the tokenizer"
    out = folder / MODEL_FOLDER
    device = next(model.parameters()).device
    model.save_pretrained(out)
    model = DCSTok.from_pretrained(out).to(device)
    statistics = measure_latents(model, source.batches(_statistics_shares(recipe)))
    statistics.save(out, model.fingerprint)


def _statistics_shares(recipe: Recipe) -> Iterator[Share]:
    """Yield shares of the run's first steps, in small batches."""
    size = min(recipe.training.batch_size, 16)
    for step in range(min(_STATISTICS_BATCHES, recipe.training.steps)):
        yield Share(step, 0, size, recipe.training.batch_size)
