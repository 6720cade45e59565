"""One micro-batch of training pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from dcs_tok.data.geometry import BatchGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """Inputs and targets that show the same content at two scales.

    Attributes:
        pixels: (b, 3, H, W) pictures or (b, 3, T, H, W) clips, float32 in [0, 1].
        target: the same at the target's scale; ``pixels`` itself where both scales are one.
        fps, target_fps: exact frame rates of clips, None for pictures.
        patches: k of the grid that both share.
        names: where each sample came from.
        skipped: samples that could not be read and were replaced, each with the reason.
    """

    pixels: Tensor
    target: Tensor
    fps: Fraction | None
    target_fps: Fraction | None
    patches: int
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_symmetric(self) -> bool:
        """Whether input and target are one tensor."""
        return self.target is self.pixels

    def to(self, device: torch.device | str) -> "TrainingBatch":
        """Return the batch on a device; pinned memory is copied while the host goes on."""
        pinned = self.pixels.is_pinned()
        pixels = self.pixels.to(device, non_blocking=pinned)
        target = pixels if self.is_symmetric else self.target.to(device, non_blocking=pinned)
        return replace(self, pixels=pixels, target=target)

    def pin_memory(self) -> "TrainingBatch":
        """Return the batch in page-locked memory, which a GPU copies from without waiting."""
        pixels = self.pixels.pin_memory()
        target = pixels if self.is_symmetric else self.target.pin_memory()
        return replace(self, pixels=pixels, target=target)


def stack_pairs(
    pairs: Sequence[tuple[Tensor, Tensor]],
    geometry: BatchGeometry,
    names: Sequence[str],
    skipped: Sequence[str],
) -> TrainingBatch:
    """Make a batch of pairs that have the scales of ``geometry``."""
    pixels = torch.stack([pair[0] for pair in pairs])
    target = pixels if geometry.is_symmetric else torch.stack([pair[1] for pair in pairs])
    return TrainingBatch(
        pixels=pixels,
        target=target,
        fps=geometry.fps,
        target_fps=geometry.target_fps,
        patches=geometry.patches,
        names=tuple(names),
        skipped=tuple(skipped),
    )


def join_batches(parts: list[TrainingBatch]) -> TrainingBatch:
    """Join parts of one micro-batch, which have one geometry, in order."""
    if len(parts) == 1:
        return parts[0]
    pixels = torch.cat([part.pixels for part in parts])
    is_symmetric = all(part.is_symmetric for part in parts)
    target = pixels if is_symmetric else torch.cat([part.target for part in parts])
    return replace(
        parts[0],
        pixels=pixels,
        target=target,
        names=tuple(name for part in parts for name in part.names),
        skipped=tuple(name for part in parts for name in part.skipped),
    )
