"""Calling functions that have gradients of their own."""

from typing import Any

import torch


def apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """Call a ``torch.autograd.Function``; without gradients, its forward alone.

    torch binds the arguments to the signature on every ``apply``, which takes as long as a small
    kernel: too long for a level of a few tokens.
    """
    if torch.is_grad_enabled():
        return function.apply(*arguments)
    return function.forward(*arguments)
