"""Tensors of which each process holds a part (``DTensor``), and their way to whole ones and back.

Any tensor may be given; most are not divided.
"""

from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_divided(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Tell whether each process holds a part, without importing what takes seconds to import."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor whole; if it is divided, every process must ask for it."""
    return tensor.full_tensor() if is_divided(tensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor."""
    return tensor.to_local() if is_divided(tensor) else tensor


def divided_like(tensor: Tensor, example: Tensor) -> Tensor:
    """Divide a tensor that every process has whole, if its example is divided."""
    if not is_divided(example) or tensor.shape != example.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    moved = tensor.to(example.device)
    return distribute_tensor(moved, example.device_mesh, example.placements, src_data_rank=None)
