"""How fast this machine multiplies matrices, and how long a run will take on it."""

import time

import torch

from dcs_common.training.config import TrainingConfig

EFFICIENCY = 0.4
"""Share of the rate of matrix products that a training step is taken to reach."""


def matmul_rate(precision: str, device: str = "cpu") -> float:
    """Return the machine's rate for a square product, in FLOP per second."""
    on_cpu = torch.device(device).type == "cpu"
    size, dtype = 2048 if on_cpu else 8192, getattr(torch, precision)
    left = torch.rand(size, size, device=device).to(dtype)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        left @ left
        if not on_cpu:
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds))


def time_needed(step_flops: float, training: TrainingConfig, device: str, world_size: int) -> str:
    """Say how long a run takes, measured by products on this machine's device."""
    if torch.device(device).type != "cpu" and not torch.cuda.is_available():
        return f"time: not known, as there is no {device} here to measure"
    rate = matmul_rate(training.precision, device)
    seconds = step_flops / (rate * EFFICIENCY) / world_size
    return (
        f"time, at {EFFICIENCY:.0%} of this machine's {rate / 1e9:.0f} GFLOP/s for matrix products "
        f"on {device}: {seconds:.3g} s a step, {seconds * training.steps / 3600:.3g} h"
    )
