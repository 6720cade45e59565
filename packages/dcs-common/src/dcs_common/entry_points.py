"""Finding what other installed packages offer, without importing any of them by name.

A package says in its pyproject what it offers; evaluation finds it through its metadata:

    [project.entry-points."dcs.codecs"]
    dcs-tok = "dcs_tok.codec:DCSTokCodec"       # a callable () -> PictureCodec

    [project.entry-points."dcs.tokenizers"]
    dcs-tok = "dcs_tok.tokenizer:load"          # a callable (model: str | None) -> ImageTokenizer
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dcs_common.codec import PictureCodec
from dcs_common.protocols import ImageTokenizer

CODECS = "dcs.codecs"
TOKENIZERS = "dcs.tokenizers"


def codec_names() -> tuple[str, ...]:
    """Return the names of the picture codecs that installed packages offer, sorted."""
    return tuple(sorted(_offered(CODECS)))


def find_codec(name: str) -> PictureCodec:
    """Return the picture codec that an installed package offers under a name.

    Raises:
        ValueError: if there is none, or it does not load.
    """
    return _load(CODECS, "codec", name, PictureCodec)


def tokenizer_names() -> tuple[str, ...]:
    """Return the names of the tokenizers that installed packages offer, sorted."""
    return tuple(sorted(_offered(TOKENIZERS)))


def find_tokenizer(name: str, model: str | None = None) -> ImageTokenizer:
    """Return the tokenizer that an installed package offers under a name.

    Args:
        name: of the entry point.
        model: a folder or hub id, as that package understands it; its default model if None.

    Raises:
        ValueError: if there is none, it does not load, or it refuses ``model``.
    """
    return _load(TOKENIZERS, "tokenizer", name, ImageTokenizer, model)


def _offered(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _load(group: str, kind: str, name: str, protocol: type, *arguments: object) -> Any:
    offered = _offered(group)
    if name not in offered:
        known = f"one of {', '.join(sorted(offered))}" if offered else "that of an installed one"
        raise ValueError(
            f"The name of a {kind} must be {known}, but is {name!r}. Install a package that "
            f"offers it under the entry points {group!r}."
        )
    point = offered[name]
    try:
        make: Callable[..., object] = point.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"The {kind} {name!r} must load from {point.value}, but does not ({error}). "
            "Install its package again, with the extra that it names."
        ) from None
    found = make(*arguments)
    if not isinstance(found, protocol):
        raise ValueError(
            f"The {kind} {name!r} must be a {protocol.__name__}, but {point.value} returned a "
            f"{type(found).__name__}. Report it to its package."
        )
    return found
