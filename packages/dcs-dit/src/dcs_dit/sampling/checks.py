"""Checks of what is asked of a generator, before anything is computed."""

import warnings
from collections.abc import Sequence
from operator import index

from torch import Tensor

from dcs_dit.config import DCSDiTConfig

Label = int | str
Grid = tuple[int, int, int]


def check_labels(
    labels: Label | Sequence[Label] | Tensor | None, config: DCSDiTConfig
) -> tuple[int, ...] | None:
    """Return label indices.

    Args:
        labels: names or indices; one or several; None for no label.
        config: the model's.

    Raises:
        ValueError: if one is unknown, or the model has no labels.
    """
    if labels is None:
        return None
    names = config.labels
    if isinstance(labels, Tensor):
        labels = labels.flatten().tolist()
    if isinstance(labels, int | str) or not isinstance(labels, Sequence):
        labels = [labels]
    if not names:
        raise ValueError(
            f"`labels` must be None for a model without classes, but are {list(labels)}. "
            "Leave them out, or load a class-conditional model."
        )
    by_name = {name.casefold(): i for i, name in enumerate(names)}
    found = []
    for label in labels:
        number = by_name.get(label.casefold()) if isinstance(label, str) else _integer(label)
        if number is None or not 0 <= number < len(names):
            listed = ", ".join(f"{name} ({i})" for i, name in enumerate(names))
            raise ValueError(
                f"A label must be the name or number of one of the model's classes, but is "
                f"{label!r}. They are: {listed}."
            )
        found.append(number)
    return tuple(found)


def _integer(value: object) -> int | None:
    """Return what Python takes for an index, numpy's integers too; None for all else."""
    try:
        return None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return seeds.

    Raises:
        ValueError: if one is no integer.
    """
    found = [_integer(seed) for seed in seeds]
    for seed, number in zip(seeds, found, strict=True):
        if number is None:
            raise ValueError(f"A seed must be an integer, but is {seed!r}.")
    return tuple(number for number in found if number is not None)


def check_grid(grid: Sequence[int] | None, config: DCSDiTConfig) -> Grid:
    """Return (segments, rows, columns); warn where it lies beyond training.

    Raises:
        ValueError: if it is no grid, or has segments and the model knows no clips.
    """
    if grid is None:
        return config.grid
    extents = tuple(_integer(x) or 0 for x in grid) if isinstance(grid, Sequence) else ()
    if len(extents) == 2:
        extents = (1, *extents)
    if len(extents) != 3 or min(extents) < 1:
        raise ValueError(
            "`grid` must be (segments, rows, columns) or (rows, columns), integers from 1 on, but "
            f"is {grid!r}. This model was trained on {config.grid}."
        )
    t, h, w = extents
    if t > 1 and config.fps is None:
        raise ValueError(
            f"`grid` must have one segment for a model of pictures, but has {t}. "
            "Load a model that was trained on clips."
        )
    if (h, w) != config.grid[1:] or t > config.grid[0]:
        warnings.warn(
            f"This model was trained on a grid of {config.grid}; {(t, h, w)} is beyond training, "
            "and what it shows may be repeated or lose its shape.",
            stacklevel=4,
        )
    return t, h, w


def check_levels(levels: int | None, config: DCSDiTConfig, *, stacklevel: int = 4) -> int:
    """Return the number of levels; warn where it lies beyond training.

    Args:
        levels: as asked for; None for all trained ones.
        config: the model's.
        stacklevel: of the call that asked, for the warning.

    Raises:
        ValueError: if the model has no such level, or it is a map of levels.
    """
    trained = config.trained_levels or config.num_levels
    if levels is None:
        return trained
    if isinstance(levels, Tensor | bool) or not isinstance(levels, int):
        raise ValueError(
            f"`levels` must be one integer for all patches, but is {levels!r}. What is generated "
            "has the same levels everywhere; maps of levels are for encoding."
        )
    if not 1 <= levels <= config.num_levels:
        raise ValueError(
            f"`levels` must be between 1 and {config.num_levels}, but is {levels}. This model has "
            f"{config.num_levels} levels."
        )
    if levels > trained:
        warnings.warn(
            f"This model was trained on {trained} levels; levels above show what chance left "
            "there.",
            stacklevel=stacklevel,
        )
    return levels


def check_count(
    given: dict[str, int | None],
) -> int:
    """Return the number of samples that all arguments agree on.

    Raises:
        ValueError: if they do not, or ask for none.
    """
    counts = {name: count for name, count in given.items() if count is not None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} by `{name}`" for name, count in counts.items())
        raise ValueError(
            f"One number of samples must be asked for, but there are {listed}. Make them agree."
        )
    count = next(iter(counts.values()), 1)
    if count < 1:
        raise ValueError(
            f"At least one sample must be asked for, but `{next(iter(counts))}` asks for {count}."
        )
    return count


def check_guidance(scale: float | None, config: DCSDiTConfig, *, is_conditional: bool) -> float:
    """Return the scale of guidance.

    Raises:
        ValueError: if it is asked for where there is nothing to guide towards, or away from.
    """
    if not is_conditional and not config.has_unconditional:
        raise ValueError(
            "A sample needs a label or text of a model that was trained without dropping them, but "
            "there is none. Give `labels` or `texts`."
        )
    if scale is None:
        return config.guidance_scale if is_conditional and config.has_unconditional else 1.0
    if scale != 1 and not config.has_unconditional:
        raise ValueError(
            "Guidance needs a model with an unconditional branch, but this one was trained "
            f"without dropping its conditions, and `guidance_scale` is {scale}. Use 1."
        )
    if scale != 1 and not is_conditional:
        raise ValueError(
            f"Guidance needs a label or text to guide towards, but there is none, and "
            f"`guidance_scale` is {scale}. Give `labels` or `texts`, or use 1."
        )
    return scale


def check_stands_alone(config: DCSDiTConfig) -> None:
    """Refuse a model that has to be given a base.

    Raises:
        ValueError: if it does.
    """
    if config.condition_channels:
        raise ValueError(
            f"A model of the form {config.latent_form!r} needs the base that its residual is added "
            "to, but is sampled alone. Use `sample_msf`, or `--residual` beside the base's "
            "`--model`."
        )
