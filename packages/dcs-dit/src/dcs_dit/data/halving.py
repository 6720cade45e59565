"""Latents at half their grid, and back: the two scales of MSF."""

from torch import Tensor


def halved(tokens: Tensor) -> Tensor:
    """Return the means of 2 x 2 patches: (b, t, 2 h, 2 w, n, c) to (b, t, h, w, n, c)."""
    b, t, h, w, n, c = tokens.shape
    return tokens.reshape(b, t, h // 2, 2, w // 2, 2, n, c).mean(dim=(3, 5))


def doubled(tokens: Tensor) -> Tensor:
    """Repeat each patch as 2 x 2: (b, t, h, w, n, c) to (b, t, 2 h, 2 w, n, c)."""
    return tokens.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
