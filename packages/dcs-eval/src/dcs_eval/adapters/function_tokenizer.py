"""Plain Python functions as a tokenizer: pictures to reconstructions, or encode and decode."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dcs_common.geometry import Rate
from dcs_common.protocols import ImageTokenizer
from dcs_eval.adapters.single_level import (
    SCALE_RULE,
    SingleLevelConfig,
    at_size,
    check_pixels,
    check_request,
)

Size = tuple[int, int]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class FunctionCode:
    """What a function made of pictures, whatever that is.

    Attributes:
        content: what ``encode`` returned, or the reconstructions.
        shape: of the pixels (b, 3, H, W).
    """

    content: Any
    shape: torch.Size


class FunctionTokenizer:
    """A tokenizer with one level, made of one function or two.

    Args:
        function: ``pictures -> reconstructions``, both floats (b, 3, H, W) in [0, 1]; with
            ``decode`` given, ``pictures -> code`` of any kind.
        decode: ``code -> reconstructions``.
        tokens: of a picture: a number, or a function of (height, width). If None they are counted
            in the code where it is a tensor: entries of integers (b, ...), places of floats
            (b, c, h, w), rows of floats (b, s, c). One function alone has no code to count in.
        channels: numbers in a token, for tables.

    Attributes:
        config: one level.
        tokens: the tokens of a picture of (height, width); None where nothing can say it.
        scale_rule: how it decodes at other sizes.
    """

    scale_rule = SCALE_RULE

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        decode: Callable[[Any], Tensor] | None = None,
        *,
        tokens: int | Callable[[Size], int] | None = None,
        channels: int | None = None,
    ) -> None:
        # Unlike other tokenizers' it may not know its channels.
        self.config: Any = SingleLevelConfig(latent_channels=channels)
        self._function, self._decode = function, decode
        self._counted: dict[Size, int] = {}
        self.tokens: Callable[[Size], int] | None
        if isinstance(tokens, int):
            self.tokens = lambda size: tokens
        elif tokens is None and decode is not None:
            self.tokens = self._count
        else:
            self.tokens = tokens

    @torch.no_grad()
    def encode(
        self,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
    ) -> Any:
        """Return the :class:`FunctionCode` of pixels (b, 3, H, W) in [0, 1].

        Raises:
            ValueError: if they are no pictures, or more than one level is asked for.
        """
        check_request(fps, levels, patches)
        check_pixels(pixels)
        content = self._function(pixels)
        if isinstance(content, Tensor) and self._decode is not None:
            count = _tokens_in(content)
            if count is not None:
                self._counted[pixels.shape[-2], pixels.shape[-1]] = count
        return FunctionCode(content=content, shape=pixels.shape)

    @torch.no_grad()
    def decode(
        self,
        latents: Any,
        size: Size | None = None,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
    ) -> Tensor:
        """Return reconstructions in [0, 1]; resized where ``size`` is not the source's.

        Raises:
            ValueError: if the function returned something else, or more than one level or a frame
                rate is asked for.
        """
        check_request(fps, levels)
        found = latents.content if self._decode is None else self._decode(latents.content)
        if not isinstance(found, Tensor) or found.shape != latents.shape:
            what = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ValueError(
                f"The function must return reconstructions of shape {tuple(latents.shape)}, but "
                f"returned {what}. Return one picture of the same size for each."
            )
        if not found.is_floating_point() or not bool(found.isfinite().all()):
            what = "values that are not finite" if found.is_floating_point() else str(found.dtype)
            raise ValueError(
                f"The function must return floats in [0, 1], but returned {what}. "
                "Convert bytes with `/ 255`, and look for a division by zero."
            )
        return at_size(found.clamp(0, 1), size)

    def _count(self, size: Size) -> int:
        if size not in self._counted:
            raise ValueError(
                f"Tokens must be counted in a code that is a tensor, but that of a picture of "
                f"{size[1]}x{size[0]} is none, or was not encoded yet. Pass `tokens`."
            )
        return self._counted[size]


def _tokens_in(code: Tensor) -> int | None:
    """Return the tokens of each picture in a batch's code; None if its form is unknown."""
    if not code.is_floating_point():
        return code[0].numel() if code.ndim > 1 else None
    if code.ndim == 4:
        return code.shape[2] * code.shape[3]
    return code.shape[1] if code.ndim == 3 else None


def load(model: str | None) -> ImageTokenizer:
    """Return the tokenizer that ``module:name`` or ``file.py:name`` is, for ``dcs.tokenizers``.

    The name is a function ``pictures -> reconstructions``, two functions ``encode,decode``, or an
    object with ``encode``, ``decode`` and ``config``, which is taken as it is.

    Raises:
        ValueError: if nothing of that name can be imported, or it is none of these.
    """
    place, colon, names = (model or "").rpartition(":")
    parts = [name.strip() for name in names.split(",")]
    if not colon or not place or not all(parts) or len(parts) > 2:
        raise ValueError(
            "The tokenizer 'python' needs a model of the form module:function, file.py:function or "
            f"file.py:encode,decode, but `--model` is {model!r}."
        )
    module = _import(place)
    missing = [name for name in parts if not hasattr(module, name)]
    if missing:
        raise ValueError(f"{place} must define {missing[0]}, but does not. Check the name.")
    found = [getattr(module, name) for name in parts]
    if len(found) == 1 and not isinstance(found[0], type) and isinstance(found[0], ImageTokenizer):
        return found[0]
    for name, value in zip(parts, found, strict=True):
        if not callable(value):
            raise ValueError(
                f"{place}:{name} must be a function or a tokenizer, but is a "
                f"{type(value).__name__}. Name the function that takes pictures."
            )
    return FunctionTokenizer(*found)


def _import(place: str) -> ModuleType:
    path = Path(place)
    try:
        if path.suffix != ".py":
            return import_module(place)
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None, "files that end in .py have a loader"
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except Exception as error:  # whatever the code raises while it is imported
        raise ValueError(
            f"The code of a tokenizer must be importable, but {place} is not "
            f"({type(error).__name__}: {error}). Correct it, or check the path."
        ) from None
