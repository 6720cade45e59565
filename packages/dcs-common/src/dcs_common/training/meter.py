"""FLOPs and memory of whatever runs, on real tensors or on fake ones."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten
# Attention on a CPU is missing from torch's list; its arguments start like those of the other.
_MISSING: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        _aten._scaled_dot_product_flash_attention
    ],
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        _aten._scaled_dot_product_flash_attention_backward
    ],
}


class Meter(TorchDispatchMode):
    """Counts FLOPs, and bytes that are alive, of all that runs under it, real or fake.

    Attributes:
        flops: of matrix products, convolutions and attention.
        held: bytes alive now that were made under the meter.
        peak: the most there have been.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """Count no storage of ``known`` tensors."""
        super().__init__()
        self.flops, self.held, self.peak = 0, 0, 0
        # Kept alive, so that no other storage gets the name of one of them.
        self._known = [tensor.untyped_storage() for tensor in known]
        self._seen = {id(storage) for storage in self._known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and count it."""
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        formula = _MISSING.get(packet) or flop_registry.get(packet)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._hold(leaf.untyped_storage())
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        name, size = id(storage), storage.nbytes()
        if name in self._seen:
            return
        self._seen.add(name)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._release, name, size).atexit = False

    def _release(self, name: int, size: int) -> None:
        self._seen.remove(name)
        self.held -= size
