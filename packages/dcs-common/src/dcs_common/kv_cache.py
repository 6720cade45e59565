"""Keys and values of finished levels, kept so that later levels reuse them (Eq. 2 to 5)."""

from torch import Tensor

from dcs_common.token_layout import TokenGroup


class LayerCache:
    """Keys and values of one attention layer, level-major in one buffer; for inference."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, group: TokenGroup, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append one level's keys and values and return views of those of all levels so far.

        Args:
            group: the group, at one level, that the tokens belong to.
            key, value: (samples, tokens, heads, head_dim).
        """
        if group.key not in self._kept:
            shape = (key.shape[0], group.capacity, *key.shape[2:])
            self._kept[group.key] = key.new_empty(shape), value.new_empty(shape)
        start = group.level_stops[group.first_level - 1] if group.first_level else 0
        stop = group.level_stops[-1]
        buffers = self._kept[group.key]
        for buffer, new in zip(buffers, (key, value), strict=True):
            buffer[:, start:stop] = new
        return buffers[0][:, :stop], buffers[1][:, :stop]

    def num_bytes(self) -> int:
        """Memory held."""
        return sum(x.numel() * x.element_size() for pair in self._kept.values() for x in pair)


class KeyValueCache:
    """One :class:`LayerCache` for each block of a transformer."""

    def __init__(self, num_layers: int) -> None:
        self.layers = tuple(LayerCache() for _ in range(num_layers))

    def num_bytes(self) -> int:
        """Memory held by all layers."""
        return sum(layer.num_bytes() for layer in self.layers)
