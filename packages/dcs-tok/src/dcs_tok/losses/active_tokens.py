"""Which tokens of a batch of latents a level map makes active."""

import torch
from torch import Tensor


def active_tokens(tokens: Tensor, levels: Tensor) -> Tensor:
    """Return (b, t, h, w, n, 1), true where a patch's level count reaches the token's level.

    Args:
        tokens: (b, t, h, w, n, d).
        levels: (b, t, h, w) integers; patch p has levels 1 to levels[p].

    Raises:
        ValueError: if the shapes do not belong together.
    """
    if tokens.ndim != 6 or levels.shape != tokens.shape[:4]:
        raise ValueError(
            "`tokens` must have the shape (b, t, h, w, n, d) and `levels` (b, t, h, w), but they "
            f"have {tuple(tokens.shape)} and {tuple(levels.shape)}. Pass both of one `Latents`."
        )
    level = torch.arange(1, tokens.shape[4] + 1, device=tokens.device)
    return (level <= levels.to(tokens.device).unsqueeze(-1)).unsqueeze(-1)
