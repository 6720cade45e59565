"""What a tokenizer decodes, as every evaluation takes it: in [0, 1], and finite or refused."""

from typing import Any

from torch import Tensor


def decoded(tokenizer: Any, latents: Any, *, levels: int, what: str, **options: Any) -> Tensor:
    """Return pixels (b, 3, H, W) or (b, 3, T, H, W) in [0, 1] that a tokenizer decodes.

    What lies outside is clamped. What is not finite is refused: clamping keeps it, and rounding to
    8 bits would make some shade of it.

    Args:
        tokenizer: an :class:`dcs_common.protocols.ImageTokenizer`.
        latents: that it encoded.
        levels: how many are decoded.
        what: the picture or clip, for the message.
        options: of its ``decode``; ``fps`` only for clips, as tokenizers of pictures need not
            take it.

    Raises:
        ValueError: if a number is not finite.
    """
    pixels: Tensor = tokenizer.decode(latents, levels=levels, **options)
    finite = pixels.isfinite()
    if not finite.all():
        raise ValueError(
            f"A tokenizer must decode to finite numbers, but {int((~finite).sum())} of "
            f"{pixels.numel()} of {what} at {levels} level{'' if levels == 1 else 's'} are not. "
            "Check its weights, or compute in float32."
        )
    return pixels.clamp(0, 1)
