"""Activation checkpointing: keep a module's inputs, compute the rest again on the way back."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def call(module: Callable[..., Any], *arguments: Any, recompute: bool) -> Any:
    """Call a module, or a part of one; with ``recompute``, keep its inputs alone for backward."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(module, *arguments, use_reentrant=False)
    return module(*arguments)
