"""Keys and values of finished levels, kept so that later levels reuse them (Eq. 2 to 5)."""

import torch
from torch import Tensor

from dcs_common.token_layout import TokenGroup


class LayerCache:
    """Keys and values of one attention layer, level-major in one buffer; for inference.

    Those of a sample's last level serve no other and are not kept.

    Args:
        storage: the device to keep them on; where they are computed if None.
    """

    def __init__(self, storage: torch.device | None = None) -> None:
        self._storage = storage
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, group: TokenGroup, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append one level's keys and values and return those of all levels so far.

        Args:
            group: the group, at one level, that the tokens belong to.
            key, value: (samples, tokens, heads, head_dim).
        """
        start = group.level_stops[group.first_level - 1] if group.first_level else 0
        stop = group.level_stops[-1]
        if group.key not in self._kept and group.capacity:
            self._kept[group.key] = self._buffer(group, key), self._buffer(group, value)
        kept = self._kept.get(group.key)
        if kept is None:
            return key, value
        # Heads first, as attention reads them.
        key, value = key.transpose(1, 2), value.transpose(1, 2)
        if stop <= group.capacity:
            for buffer, new in zip(kept, (key, value), strict=True):
                buffer[:, :, start:stop] = new
        if stop <= group.capacity and self._is_here(key):
            key, value = (buffer[:, :, :stop] for buffer in kept)
        elif start:
            before = (buffer[:, :, :start].to(key.device, non_blocking=True) for buffer in kept)
            pairs = zip(before, (key, value), strict=True)
            key, value = (torch.cat(pair, dim=2) for pair in pairs)
        return key.transpose(1, 2), value.transpose(1, 2)

    def _is_here(self, tensor: Tensor) -> bool:
        return self._storage is None or self._storage == tensor.device

    def _buffer(self, group: TokenGroup, like: Tensor) -> Tensor:
        samples, _, heads, head_dim = like.shape
        shape = (samples, heads, group.capacity, head_dim)
        if self._is_here(like):
            return like.new_empty(shape)
        # Page-locked, a GPU reads and writes it several times faster.
        pinned = like.is_cuda and torch.device("cpu") == self._storage
        return torch.empty(shape, dtype=like.dtype, device=self._storage, pin_memory=pinned)

    def num_bytes(self) -> int:
        """Memory held."""
        return sum(x.numel() * x.element_size() for pair in self._kept.values() for x in pair)


class KeyValueCache:
    """One :class:`LayerCache` for each block of a transformer."""

    def __init__(self, num_layers: int, storage: torch.device | None = None) -> None:
        self.layers = tuple(LayerCache(storage) for _ in range(num_layers))

    def num_bytes(self) -> int:
        """Memory held by all layers."""
        return sum(layer.num_bytes() for layer in self.layers)
