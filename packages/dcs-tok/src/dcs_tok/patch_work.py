"""Working through patches in pieces of bounded size.

Patches are independent in patchifier and depatchifier, so any division gives the same result.
Pieces hold patches of one shape with one level count: what a level map drops is never computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

DEFAULT_MAX_MEMORY = 512 * 2**20
ACCELERATOR_SHARE = 16
"""An accelerator's ceiling is its memory over this: in small pieces it waits for their launches."""
# Activations alive at once in a patch block, in multiples of (tokens x width): the residual
# stream, its norm, queries, keys, values, rotated copies and the doubled feed-forward width.
_LIVE_ACTIVATIONS = 16
# On a CPU, a piece whose activations take more than this leaves the processor's cache. An
# accelerator wants pieces as large as memory allows.
_CACHE_BYTES = 2 * 2**20


def default_max_memory(device: torch.device) -> int:
    """Return the ceiling in bytes where none is asked for, which depends on the device."""
    if device.type != "cuda":
        return DEFAULT_MAX_MEMORY
    return share_of(torch.cuda.get_device_properties(device).total_memory)


def share_of(accelerator_memory: float) -> int:
    """Return the ceiling for an accelerator with so many bytes."""
    return max(DEFAULT_MAX_MEMORY, int(accelerator_memory) // ACCELERATOR_SHARE)


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """How many patches go through the patch networks, and through pixel memory, at once."""

    patches_at_once: int
    patches_in_memory: int


def plan_work(
    tokens_per_patch: int,
    width: int,
    floats_per_patch: int,
    element_size: int,
    max_memory: int,
    patches_at_once: int | None = None,
    *,
    on_cpu: bool = True,
) -> WorkPlan:
    """Choose piece sizes for a memory ceiling in bytes.

    Args:
        tokens_per_patch: P + n.
        width: of the patch network.
        floats_per_patch: values of the patch's pixels, over all frames.
        element_size: bytes of one value.
        max_memory: the ceiling for what is alive at once beside inputs, outputs and weights;
            a single patch may need more.
        patches_at_once: no more than these, in place of what fills the cache.
        on_cpu: keep pieces within the processor's cache.
    """
    activation = tokens_per_patch * width * element_size
    at_once = max(1, max_memory // 2 // (activation * _LIVE_ACTIVATIONS))
    if patches_at_once is not None:
        at_once = min(at_once, patches_at_once)
    elif on_cpu:
        at_once = min(at_once, max(1, _CACHE_BYTES // activation))
    # Cutting out, resampling and putting back hold about four copies of the pixels.
    in_memory = max(1, max_memory // 2 // (4 * floats_per_patch * element_size))
    return WorkPlan(min(at_once, in_memory), in_memory)


def by_level_count(counts: Tensor, patches_at_once: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (level count, positions) for pieces of patches that share their level count."""
    for count in torch.unique(counts).tolist():
        positions = (counts == count).nonzero()[:, 0]
        for piece in positions.split(patches_at_once):
            yield count, piece


def restore_order(pieces: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Join (positions, values) pieces that cover every position once; differentiable."""
    if len(pieces) == 1:
        return pieces[0][1]
    positions = torch.cat([where for where, _ in pieces])
    values = torch.cat([value for _, value in pieces])
    if bool((positions[1:] > positions[:-1]).all()):
        return values
    return values.index_select(0, positions.argsort().to(values.device))
