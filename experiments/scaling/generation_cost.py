"""What sampling costs, all levels at once and level by level (Fig. 5): FLOPs, time, memory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dcs_common.training.meter import Meter
from dcs_dit import DCSDiT, sample, sample_progressive
from dcs_dit.sampling.memory import CacheKind
from dcs_dit.sampling.request import SamplingRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelTimes:
    """One run, level by level.

    Attributes:
        seconds: from the start until each level was there.
        tokens: the result, (b, t, h, w, n, c).
    """

    seconds: tuple[float, ...]
    tokens: Tensor


def joint_run(dit: DCSDiT, request: dict[str, Any]) -> LevelTimes:
    """Sample all levels at once."""
    start = now(dit)
    tokens = sample(dit, **request).tokens
    return LevelTimes(seconds=(now(dit) - start,), tokens=tokens)


def progressive_run(dit: DCSDiT, request: dict[str, Any], cache: CacheKind) -> LevelTimes:
    """Sample coarse to fine."""
    start = now(dit)
    seconds, tokens = [], torch.empty(0)
    for step in sample_progressive(dit, cache=cache, **request):
        seconds.append(now(dit) - start)
        tokens = step.latents.tokens
    return LevelTimes(seconds=tuple(seconds), tokens=tokens)


def now(dit: DCSDiT) -> float:
    """Return the time in seconds, of a GPU once it has done what it was given.

    On a CPU it is the time that this process has worked, which other programs do not lengthen.
    """
    device = dit.norm.weight.device
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def counted_flops(call: Callable[[], object]) -> int:
    """Return the FLOPs of a call's matrix products, convolutions and attention."""
    meter = Meter()
    with meter:
        call()
    return meter.flops


def joint_flops(dit: DCSDiT, request: SamplingRequest) -> int:
    """Return the FLOPs of sampling all levels at once, from the sizes of matrices alone.

    A step's guidance doubles its samples. Queries of level i see the keys of i levels.
    """
    t, h, w = request.grid
    patches, n, width = t * h * w, request.levels, dit.config.width
    total = 0
    for instant in request.settings.times()[:-1]:
        samples = request.num_samples * (1 + request.settings.is_guided(instant))
        pairs = samples * patches**2 * sum(range(1, n + 1))
        per_token = _products(dit.blocks, without=".modulation.")
        per_token += _products(dit.tokens_in) + _products(dit.tokens_out)
        per_sample = _products(dit.blocks, only=".modulation.")
        per_sample += _products(dit.last_modulation) + _products(dit.condition.time)
        total += 2 * samples * (n * patches * per_token + per_sample)
        total += dit.config.blocks * 4 * pairs * width
    return total


def recompute_factor(levels: int) -> float:
    """Return (1 + ... + n) / n: how often a level is computed where no keys are kept."""
    return sum(range(1, levels + 1)) / levels


def ratios(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Return first over second of every pair."""
    return [first / second for first, second in pairs]


def _products(module: torch.nn.Module, *, only: str = "", without: str = "\0") -> int:
    """Return the entries of a module's matrices, of those whose names fit."""
    return sum(
        parameter.numel()
        for name, parameter in module.named_parameters()
        if parameter.ndim == 2 and only in name and without not in name
    )
