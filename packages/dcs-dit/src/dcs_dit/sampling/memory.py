"""How much memory the keys and values of a progressive run take, told before it begins."""

from typing import Literal

import psutil
import torch

from dcs_dit.config import DCSDiTConfig
from dcs_dit.sampling.request import SamplingRequest

CacheKind = Literal["device", "cpu", "recompute"]
KINDS: tuple[CacheKind, ...] = ("device", "cpu", "recompute")


def cache_bytes(config: DCSDiTConfig, request: SamplingRequest, element_size: int) -> int:
    """Return the bytes of all keys and values that are kept.

    One key and one value of ``width`` numbers for every step, block, guidance branch, sample and
    token of all levels but the last.
    """
    t, h, w = request.grid
    settings = request.settings
    branches = sum(1 + settings.is_guided(time) for time in settings.times()[:-1])
    tokens = request.num_samples * t * h * w * (request.levels - 1)
    return branches * tokens * config.blocks * 2 * config.width * element_size


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def check_memory(
    kind: CacheKind, config: DCSDiTConfig, request: SamplingRequest, model: torch.Tensor
) -> None:
    """Refuse a cache that does not fit.

    Args:
        kind: of cache.
        config: the model's.
        request: what is asked for.
        model: one of the model's tensors: its precision and device.

    Raises:
        ValueError: if ``kind`` is unknown, or there is too little memory.
    """
    if kind not in KINDS:
        raise ValueError(
            f"`cache` must be one of 'device', 'cpu' and 'recompute', but is {kind!r}."
        )
    if kind == "recompute":
        return
    device = model.device if kind == "device" else torch.device("cpu")
    needed, free = cache_bytes(config, request, model.element_size()), free_memory(device)
    if needed > free:
        others = "'cpu' (on the host, slower) or 'recompute' (none, slower still)"
        if kind == "cpu" or device.type == "cpu":
            others = "'recompute', which keeps none and computes lower levels again"
        half = request.settings.guidance_scale != 1
        raise ValueError(
            f"The keys and values of {request.levels - 1} levels must fit into the memory of "
            f"{device}, but need {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free. "
            f"Use the cache {others}; or ask for fewer samples, steps or levels, a model in "
            f"bfloat16{', or no guidance' if half else ''}."
        )
