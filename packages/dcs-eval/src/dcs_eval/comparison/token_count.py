"""How many tokens a picture's latent takes, told by the latent itself or by the tokenizer."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from dcs_common.protocols import ImageTokenizer


class CountingTokenizer:
    """A tokenizer as it is, and the tokens of every picture that it encodes.

    Latents with a map of levels (:class:`dcs_common.Latents`) say it themselves: a patch of m
    levels takes m tokens. Of others a method ``tokens(size)`` of the tokenizer is asked, which
    returns the tokens of a picture of (height, width).

    Args:
        tokenizer: encodes, decodes, and is changed in nothing.
    """

    def __init__(self, tokenizer: ImageTokenizer) -> None:
        self.config = tokenizer.config
        self._tokenizer: Any = tokenizer
        self._counts: list[Callable[[int], int | None]] = []

    def encode(self, pixels: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Encode as the tokenizer does, and keep what counts the tokens."""
        latents = self._tokenizer.encode(pixels, *args, **kwargs)
        levels = getattr(latents, "levels", None)
        if isinstance(levels, Tensor):
            self._counts += [_counter(one) for one in levels.cpu()]
        else:
            count = getattr(self._tokenizer, "tokens", None)
            size = (pixels.shape[-2], pixels.shape[-1])
            found = int(count(size)) if callable(count) else None
            self._counts += [lambda _: found] * len(pixels)
        return latents

    def decode(self, *args: Any, **kwargs: Any) -> Tensor:
        """Decode as the tokenizer does."""
        return self._tokenizer.decode(*args, **kwargs)

    def tokens(self, levels: int, pictures: Sequence[str]) -> dict[str, int | None]:
        """Return the tokens of each picture's first levels; None where nothing says it.

        Args:
            levels: at most so many of each patch.
            pictures: the names of all pictures that were encoded, in that order.
        """
        pairs = zip(pictures, self._counts, strict=True)
        return {name: count(levels) for name, count in pairs}


def _counter(levels: Tensor) -> Callable[[int], int]:
    return lambda most: int(levels.clamp(max=most).sum())


def channels(tokenizer: ImageTokenizer) -> int | None:
    """Return the numbers in a token; None where the tokenizer's config does not say it."""
    found = getattr(tokenizer.config, "latent_channels", None)
    return None if found is None else int(found)
