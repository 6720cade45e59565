"""One shard of features, in a safetensors file.

features (N, size) float32
logits (N, classes) float32    where the space has logits
spatial (N, spatial) float32   where the space has spatial features
metadata["about"]              JSON: whose shard it is
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from dcs_common.atomic_file import write_atomically
from dcs_eval.features.feature_plan import FeaturePlan


def write_shard(path: Path, plan: FeaturePlan, shard: int, tensors: dict[str, Tensor]) -> None:
    """Write a shard, which appears when it is whole.

    Args:
        path: to write.
        plan: of the folder.
        shard: its number.
        tensors: ``features``, and ``logits`` and ``spatial`` where the space has some.

    Raises:
        ValueError: if there are more or fewer numbers than the plan says, or some are not finite.
    """
    count = len(plan.indices(shard))
    for name, width in _widths(plan).items():
        found = tensors[name]
        if tuple(found.shape) != (count, width):
            raise ValueError(
                f"The feature space {plan.space} must give {name} of the shape {(count, width)} "
                f"for {count} pictures, but gave {tuple(found.shape)}. Correct the space."
            )
        if not found.isfinite().all():
            raise ValueError(
                f"Features must be finite, but {int((~found.isfinite()).any(1).sum())} of the "
                f"{name} of pictures {plan.indices(shard)[0]} to {plan.indices(shard)[-1]} are "
                "not. Check the pictures and the weights."
            )
    about = json.dumps({"plan": plan.digest, "shard": shard})
    whole = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, to_safetensors(whole, {"about": about}))


def read_shard(path: Path, plan: FeaturePlan, shard: int, *names: str) -> list[Tensor]:
    """Return tensors of a shard; without names it is only checked.

    Args:
        path: of the file.
        plan: of the folder.
        shard: its number.
        names: of the tensors.

    Raises:
        ValueError: if the shard is cut, not this plan's, or not consistent.
    """
    remedy = "Delete it and extract again."
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "null"))
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            found = [file.get_tensor(name) for name in names if name in held]
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"A shard must be a whole safetensors file, but {path} is not ({error}). {remedy}"
        ) from None
    if about != {"plan": plan.digest, "shard": shard}:
        raise ValueError(
            f"A shard must belong to its folder, as shard {shard} of {plan.digest}, but {path} "
            f"says {about}. {remedy}"
        )
    expected = {name: (len(plan.indices(shard)), size) for name, size in _widths(plan).items()}
    if held != expected:
        raise ValueError(f"A shard must hold {expected}, but {path} holds {held}. {remedy}")
    return found


def _widths(plan: FeaturePlan) -> dict[str, int]:
    """Return how many numbers there are of a picture, by the tensor's name."""
    widths = {"features": plan.size, "logits": plan.classes, "spatial": plan.spatial}
    return {name: width for name, width in widths.items() if width}
