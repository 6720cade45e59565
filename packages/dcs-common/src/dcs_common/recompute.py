"""Activation checkpointing: keep a module's inputs, compute the rest again on the way back."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def call(module: nn.Module, *arguments: Any, recompute: bool) -> Any:
    """Call a module; with ``recompute``, keep nothing but its inputs for the backward pass."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(module, *arguments, use_reentrant=False)
    return module(*arguments)
