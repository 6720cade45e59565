"""Noise of one sample's latents, of which that of level i does not depend on the levels above."""

from collections.abc import Sequence

import torch
from torch import Tensor


def level_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw unit noise (t, h, w, n, d), level by level.

    A longer draw does not start with a shorter one, so each level is a draw of its own.
    """
    t, h, w, n, d = shape
    noise = [
        torch.randn(t, h, w, d, generator=generator, device=generator.device) for _ in range(n)
    ]
    return torch.stack(noise, dim=3)
