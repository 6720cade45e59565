"""Everything that a run needs to go on as if it had never stopped, in one safetensors file.

| entry | content |
| --- | --- |
| metadata ``kind``, ``format`` | ``dcs-checkpoint`` and ``CHECKPOINT_FORMAT`` |
| metadata ``about`` | JSON: ``step`` done, ``identity`` of the run, ``losses`` last seen |
| ``network/N/...`` | state dict of network N |
| ``average/...`` | averaged weights of the model and the count of averages |
| ``optimizer/N/PARAMETER/ENTRY`` | optimiser state |
| ``random/cpu``, ``random/cuda`` | states of torch's own generators |

The file appears when it is whole; the one before stays as ``checkpoint.previous.safetensors``.
"""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dcs_common.atomic_file import whole_file

CHECKPOINT_FORMAT = 1
CHECKPOINT_FILE = "checkpoint.safetensors"
PREVIOUS_FILE = "checkpoint.previous.safetensors"
_KIND = "dcs-checkpoint"


class CheckpointError(ValueError):
    """A checkpoint cannot be read, belongs to another run, or could not be written."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A moment of a run.

    Attributes:
        step: steps done.
        identity: what the run is, as JSON values; a run goes on only from its own checkpoints.
        tensors: all tensors by name.
        losses: the model's last losses, for telling explosions.
    """

    step: int
    identity: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    losses: tuple[float, ...] = ()


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        CheckpointError: if the disk does not take it; the last checkpoint is as it was.
    """
    path = folder / CHECKPOINT_FILE
    about = {
        "step": checkpoint.step,
        "identity": dict(checkpoint.identity),
        "losses": list(checkpoint.losses),
    }
    metadata = {"kind": _KIND, "format": str(CHECKPOINT_FORMAT), "about": json.dumps(about)}
    tensors = _plain(checkpoint.tensors)
    try:
        with whole_file(path) as temporary:
            save_file(tensors, temporary, metadata)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            if path.exists():
                _keep_previous(path, folder / PREVIOUS_FILE)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"A checkpoint must be written whole, but {path} of step {checkpoint.step} could not "
            f"be ({error}). What was there is intact. Make room and start again: the run goes on "
            "from there."
        ) from None


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Move tensors to the CPU; the format knows neither views nor shared storage."""
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        moved = tensor.detach().cpu().contiguous()
        place = moved.untyped_storage().data_ptr()
        if place in seen or moved.untyped_storage().nbytes() != moved.nbytes:
            moved = moved.clone()
        seen.add(place)
        plain[name] = moved
    return plain


def _keep_previous(path: Path, previous: Path) -> None:
    """Give the old checkpoint a second name; its first one is replaced in one go."""
    with suppress(FileNotFoundError):
        previous.unlink()
    try:
        os.link(path, previous)
    except OSError:  # no hard links here
        with whole_file(previous) as temporary:
            shutil.copyfile(path, temporary)


def load_checkpoint(
    folder: Path, identity: Mapping[str, Any], may_change: Collection[str] = ()
) -> Checkpoint | None:
    """Read a run's checkpoint; None if there is none.

    Args:
        folder: of the run.
        identity: what the run is now.
        may_change: keys of it that may differ.

    Raises:
        CheckpointError: if it is damaged, foreign, of another format or of another run.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        if (folder / PREVIOUS_FILE).exists():
            raise CheckpointError(
                f"A run must go on from its last checkpoint, but {path} is gone. {PREVIOUS_FILE} "
                "holds the one before; rename it to go on from there, or remove it to start again."
            )
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"A checkpoint must be a whole safetensors file, but {path} is not ({error})."
            f"{_hint(folder)}"
        ) from None
    if metadata.get("kind") != _KIND:
        raise CheckpointError(
            f"A checkpoint must be written by this training loop, but {path} holds "
            f"{metadata.get('kind')!r}. Give the run a folder of its own."
        )
    if metadata.get("format") != str(CHECKPOINT_FORMAT):
        raise CheckpointError(
            f"The checkpoint format must be {CHECKPOINT_FORMAT}, but {path} has format "
            f"{metadata.get('format')}. Go on with the release that wrote it."
        )
    try:
        about = json.loads(metadata["about"])
        step, before, losses = int(about["step"]), dict(about["identity"]), tuple(about["losses"])
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"A checkpoint must say what it is, but {path} does not ({error!r}).{_hint(folder)}"
        ) from None
    _check_identity(path, before, identity, may_change)
    return Checkpoint(step, before, tensors, losses)


def _hint(folder: Path) -> str:
    if (folder / PREVIOUS_FILE).exists():
        return f" {PREVIOUS_FILE} holds the one before; rename it to go on from there."
    return " Remove it to start again."


def _check_identity(
    path: Path, found: Mapping[str, Any], asked: Mapping[str, Any], may_change: Collection[str]
) -> None:
    before, now = _flat(found), _flat(json.loads(json.dumps(dict(asked))))
    differing = [
        f"{key} ({json.dumps(before.get(key))} there, {json.dumps(now.get(key))} here)"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
        and not any(key == free or key.startswith(f"{free}.") for free in may_change)
    ]
    if differing:
        raise CheckpointError(
            f"A run must go on from its own checkpoint, but {path} differs in "
            f"{', '.join(differing)}. Use another folder, or the settings that it was made with."
        )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested objects into dotted keys."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
