"""What blocks are told beside the tokens: time, label and text (adaLN-zero; Sec. 3.4, Table 3)."""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn

from dcs_dit.initial import normal

_TIME_FEATURES = 256
_LONGEST_PERIOD = 10_000


def time_features(time: Tensor, count: int = _TIME_FEATURES) -> Tensor:
    """Return (b, count) sines and cosines of times (b,) in [0, 1], on a scale of 1000 steps."""
    steps = torch.arange(count // 2, device=time.device, dtype=torch.float32)
    frequencies = torch.exp(-log(_LONGEST_PERIOD) * steps / (count // 2))
    angles = 1000 * time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ConditionEmbedding(nn.Module):
    """time (b,) and labels (b,) -> (b, width).

    The label after the last one, ``num_labels``, is "no label": the unconditional branch.
    """

    def __init__(self, width: int, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.time = nn.Sequential(
            nn.Linear(_TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.label = None
        if num_labels:
            self.label = nn.Embedding.from_pretrained(
                normal(num_labels + 1, width, std=0.02), freeze=False
            )

    def forward(self, time: Tensor, labels: Tensor | None) -> Tensor:
        """Embed; labels None stands for no label."""
        like = next(self.time.parameters())
        embedded: Tensor = self.time(time_features(time).to(like))
        if self.label is None:
            return embedded
        if labels is None:
            labels = torch.full_like(time, self.num_labels, dtype=torch.int64)
        return embedded + self.label(labels).to(embedded)


class Modulation(nn.Module):
    """SiLU -> linear to ``count`` vectors a sample, zero at first, so that a block does nothing."""

    def __init__(self, width: int, count: int, rank: int | None = None) -> None:
        super().__init__()
        self.count = count
        self.narrow = nn.Identity() if rank is None else nn.Linear(width, rank)
        self.wide = nn.Linear(width if rank is None else rank, count * width)
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(self.wide.bias)

    def forward(self, condition: Tensor) -> Tensor:
        """Return (b, count, 1, width) for a condition (b, width)."""
        vectors = self.wide(self.narrow(nn.functional.silu(condition)))
        return vectors.unflatten(-1, (self.count, 1, -1))


@dataclass(frozen=True, eq=False, slots=True)
class TextKeys:
    """Keys and values (b, s, heads, head_dim) of texts for one block, and which count (b, s)."""

    key: Tensor
    value: Tensor
    is_text: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Conditions:
    """All that depends on time, label and text, computed once for all levels of a step.

    Attributes:
        modulations: of each block, (b, 6, 1, width).
        last: of the layer after them, (b, 2, 1, width).
        texts: of each block, or None.
    """

    modulations: tuple[Tensor, ...]
    last: Tensor
    texts: tuple[TextKeys, ...] | None = None
