"""Tokenizers by the names that options take: ``NAME`` or ``NAME=MODEL``."""

from collections.abc import Sequence

import torch
from torch import nn

from dcs_common.entry_points import find_tokenizer, tokenizer_names
from dcs_common.protocols import ImageTokenizer


def tokenizer_help() -> str:
    """Return the names that may be given, for the help of an option."""
    return f"of {', '.join(tokenizer_names()) or 'installed packages'}"


def load_tokenizer(name: str, model: str | None, device: torch.device) -> ImageTokenizer:
    """Return an installed package's tokenizer on a device.

    Args:
        name: of its entry point.
        model: a folder or hub id; the tokenizer's own if None.
        device: where to compute.

    Raises:
        ValueError: if there is none of that name, or it refuses the model.
    """
    tokenizer = find_tokenizer(name, model)
    if isinstance(tokenizer, nn.Module):
        tokenizer.to(device)
    return tokenizer


def load_spec(spec: str, device: torch.device) -> ImageTokenizer:
    """Return the tokenizer that ``NAME`` or ``NAME=MODEL`` says.

    Raises:
        ValueError: if there is none of that name, or it refuses the model.
    """
    name, _, model = spec.partition("=")
    return load_tokenizer(name, model or None, device)


def spec_titles(specs: Sequence[str]) -> list[str]:
    """Return ``NAME=MODEL`` with as few last parts of the models' paths as tell them apart."""
    pairs = [
        (name, model.rstrip("/").split("/"))
        for name, _, model in (spec.partition("=") for spec in specs)
    ]
    titles: list[str] = []
    for parts in range(1, max(len(path) for _, path in pairs) + 1):
        titles = [f"{name}={'/'.join(path[-parts:])}".rstrip("=") for name, path in pairs]
        if len(set(titles)) == len(set(specs)):
            break
    return titles
