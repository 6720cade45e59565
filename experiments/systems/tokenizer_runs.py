"""Training a tokenizer within a stage, in the same way for every experiment."""

from collections.abc import Sequence
from pathlib import Path

from dcs_common.training import TrainingResult
from dcs_tok.training.recipe import Recipe
from launching import Context, Unfinished

CACHE_MIB = 512
"""Decoded photos that the small forms keep: reading them anew would take longer than a step."""
_WORKERS = 10
"""Reading processes of each task at the paper's size, of its 12 cores."""


def run_tokenizer(
    context: Context,
    recipe: Recipe,
    folder: Path,
    *,
    data: Sequence[str | Path],
    init_from: str | Path | None = None,
) -> TrainingResult:
    """Train in a folder until the end.

    At the paper's size activations are recomputed, as ``--plan`` has it: kept, they would not fit.

    Args:
        context: of the stage; its options name the perceptual loss' files.
        recipe: what is trained.
        folder: of the run, gone on from; its model goes into ``folder/model``.
        data: to train on.
        init_from: a model, or a linear path.

    Raises:
        Unfinished: if the training was asked to stop and has written its checkpoint.
    """
    from dcs_tok.training.run import Inputs, train_tokenizer

    options = context.options
    is_tiny = options.preset == "tiny"
    inputs = Inputs(
        data=tuple(data),
        init_from=None if init_from is None else str(init_from),
        workers=0 if is_tiny else _WORKERS,
        cache_mib=CACHE_MIB if is_tiny else 0,
        trunk_weights=_path(options.lpips_trunk),
        perceptual_heads=_path(options.lpips_heads),
        checkpoint_activations=not is_tiny,
        device=context.device,
    )
    result = train_tokenizer(recipe, inputs, folder)
    if not result.finished:
        raise Unfinished(f"at step {result.step} of {recipe.training.steps}")
    return result


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
