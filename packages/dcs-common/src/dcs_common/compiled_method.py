"""Modules of which one method is compiled, where the whole cannot or should not be."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class WithCompiledMethod(nn.Module):
    """A module whose ``compile`` compiles :attr:`compiled_method` alone, in place.

    Copies are not compiled, as those of a compiled ``nn.Module`` are not: what is compiled is the
    method of the class, so that it could not work with another module's weights either.
    """

    compiled_method: str
    _compiled: Callable[..., Any] | None = None

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the method, in place; arguments of ``torch.compile``."""
        self._compiled = torch.compile(getattr(type(self), self.compiled_method), *args, **options)

    def run_method(self, *arguments: Any) -> Any:
        """Call the method, compiled or not."""
        method = self._compiled or getattr(type(self), self.compiled_method)
        return method(self, *arguments)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or pickle holds."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_compiled"}
