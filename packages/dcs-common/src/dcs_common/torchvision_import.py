"""Importing torchvision beside a torch of another build.

torchvision's compiled operators load only under the build of torch that they were made for. With
another one, say a CUDA wheel of torchvision beside a CPU torch, they stay out, and then the import
as a whole fails, as it describes the operators ``nms`` and ``qnms`` that nobody declared. Its
models and transforms need neither. Declaring both by hand lets the import pass; only the compiled
operators themselves (``torchvision.ops.nms``, ``torchvision.io``) remain unusable.
"""

import sys
from functools import cache
from importlib import import_module
from types import ModuleType

import torch

_UNDECLARED = "operator torchvision::nms does not exist"
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision(extra: str = "dcs-tok[train]") -> ModuleType:
    """Return torchvision, declaring its missing operators if the import asks for them.

    Call this before the first import of torchvision, or of a library that imports it.

    Args:
        extra: what to install where torchvision is missing, for the message.

    Raises:
        ValueError: if torchvision is not installed.
    """
    try:
        try:
            return import_module("torchvision")
        except RuntimeError as error:
            if str(error) != _UNDECLARED:
                raise
            _declare_operators()
            # What the failed import left behind belongs to a package that is gone.
            for name in [name for name in sys.modules if name.startswith("torchvision.")]:
                del sys.modules[name]
            return import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise ValueError(
            "torchvision is needed here, but it is not installed. Install it with "
            f"`pip install '{extra}'`."
        ) from None


@cache  # declarations last as long as the object that made them
def _declare_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(name + _SIGNATURE)
    return library
