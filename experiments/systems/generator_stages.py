"""Stages of a generator: its latents, its training, its samples."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from costs.paper_scale import check_model
from dcs_common.entry_points import find_tokenizer
from dcs_common.training import OptimizerConfig, TrainingConfig
from dcs_dit.config import DCSDiTConfig
from dcs_dit.data import CacheConfig, LatentCaching, PictureSet, find_labelled_pictures
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.recipes import xl
from launching import Context, Unfinished
from systems.class_data import folders

TOKENIZER = "dcs-tok"


def cache(
    context: Context,
    *,
    name: str,
    tokenizer: str,
    settings: Mapping[str, Any],
    jobs: int = 1,
    job: int = 0,
) -> dict[str, Any]:
    """Encode the data of a name; several jobs share the work.

    Args:
        context: of the stage.
        name: "train" or "held-out".
        tokenizer: a bundled name, or a model folder.
        settings: of :class:`dcs_dit.data.CacheConfig`.
        jobs, job: how many share the work, and which of them this is.
    """
    media: Literal["picture", "clip"] = "picture" if settings.get("fps") is None else "clip"
    samples = find_labelled_pictures(folders(context, name), context.options.labels, media=media)
    return encode(
        context, samples, name=name, tokenizer=tokenizer, settings=settings, jobs=jobs, job=job
    )


def encode(
    context: Context,
    samples: PictureSet,
    *,
    name: str,
    tokenizer: str,
    settings: Mapping[str, Any],
    jobs: int,
    job: int,
) -> dict[str, Any]:
    """Encode pictures or clips into the latents of a name; arguments as of :func:`cache`."""
    check_model(tokenizer, "train_tokenizer")
    config = CacheConfig(**{**settings, "size": (settings["size"], settings["size"])})
    caching = LatentCaching(
        samples,
        find_tokenizer(TOKENIZER, tokenizer),
        config,
        name=TOKENIZER,
        model=tokenizer,
        device=context.device,
    )
    folder = latents_of(context, name)
    folder.parent.mkdir(exist_ok=True)
    result = caching.run(folder, jobs=jobs, job=job)
    return {"samples": result.plan.samples, "written": result.written, "kept": result.kept}


def latents_of(context: Context, name: str) -> Path:
    """Return the folder of cached latents."""
    return context.run / "latents" / name


_SMALL: dict[str, Any] = {
    "width": 96,
    "heads": 4,
    "blocks": 4,
    "num_levels": 3,
    "qk_norm": True,
}


def small_generator(seed: int, *, steps: int, **model: Any) -> Recipe:
    """Return a small run of Table 5's losses: flow, direction, linear draw of levels.

    Args:
        seed: of weights, noise, times and level counts.
        steps: of 32 samples, where the paper has 200K of 512.
        model: settings of :class:`dcs_dit.config.DCSDiTConfig` that differ.
    """
    paper = xl()
    return replace(
        paper,
        name="small",
        model=DCSDiTConfig(**_SMALL | _in_tuples(model)),
        training=TrainingConfig(
            steps=steps,
            batch_size=32,
            seed=seed,
            optimizer=OptimizerConfig(
                learning_rate=2e-3,
                matrix_learning_rate=4e-3,
                betas=paper.training.optimizer.betas,
                warmup_steps=min(20, steps),
                schedule="cosine",
                final_fraction=0.05,
            ),
            ema_decay=0.99,
            checkpoint_every=200,
            log_every=20,
            validate_every=50,
        ),
    )


def paper_generator(seed: int, **model: Any) -> Recipe:
    """Return DCS-DiT-XL as Table 5 trains it, with the loss of held-out latents on the way.

    Args:
        seed: as above.
        model: settings of :class:`dcs_dit.config.DCSDiTConfig` that differ.
    """
    recipe = xl()
    return replace(
        recipe,
        model=replace(recipe.model, **_in_tuples(model)),
        training=replace(recipe.training, seed=seed, validate_every=5000),
    )


def _in_tuples(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that came through JSON, which knows no tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in model.items()
    }


def train(
    context: Context,
    *,
    size: str,
    seed: int,
    steps: int,
    model: Mapping[str, Any],
    latents: Sequence[str] = ("train",),
    text_encoder: str | None = None,
) -> dict[str, Any]:
    """Train a generator on the latents.

    Args:
        context: of the stage.
        size: "small" or "paper".
        seed: of everything that is drawn.
        steps: how many.
        model: settings that differ from those of the size.
        latents: names of those that it learns.
        text_encoder: a hub id, or a folder in the run's; it is conditioned on captions.
    """
    from dcs_dit.training.run import Inputs, train_generator

    if size == "small":
        recipe = small_generator(seed, steps=steps, **model)
    else:
        recipe = paper_generator(seed, **model)
        recipe = replace(recipe, training=replace(recipe.training, steps=steps))
    inputs = Inputs(
        data=tuple(latents_of(context, name) for name in latents),
        text_encoder=None if text_encoder is None else encoder_of(context, text_encoder),
        validate=latents_of(context, "held-out"),
        checkpoint_activations=size == "paper",
        device=context.device,
    )
    result = train_generator(recipe, inputs, context.folder / "run")
    if not result.finished:
        raise Unfinished(f"at step {result.step} of {recipe.training.steps}")
    return {"steps": result.step, "samples": result.samples}


def encoder_of(context: Context, name: str) -> str:
    """Return where a text encoder is: a folder in the run's, or else the name as a hub id."""
    folder = context.run / name
    return str(folder) if folder.is_dir() else name


def model_of(context: Context, run: str) -> Path:
    """Return the model folder of a finished run of this experiment."""
    return context.folder_of(run) / "run" / "model"
