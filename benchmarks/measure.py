"""Timing by pairs in one run, the machine's own matmul rate, and peak memory of a process."""

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired_ratio(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 7
) -> tuple[float, float, float]:
    """Return (median of ratios ours / theirs, median seconds of ours, of theirs).

    The two run in turn after a warm-up each, so that a drift of the machine meets both.
    """
    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return (
        median(a / b for a, b in pairs),
        median(a for a, _ in pairs),
        median(b for _, b in pairs),
    )


def matmul_rate(dtype: torch.dtype, size: int = 4096) -> float:
    """Return the machine's rate for a square matrix product, in FLOP per second."""
    left, right = torch.randn(2, size, size).to(dtype)
    out = torch.empty_like(left)
    torch.mm(left, right, out=out)
    return 2 * size**3 / min(seconds(lambda: torch.mm(left, right, out=out)) for _ in range(5))


def peak_bytes() -> int:
    """Return the most memory that this process has held so far.

    Linux keeps ``ru_maxrss`` across ``exec``, so that a child starts with its parent's figure;
    VmHWM starts anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_fresh_process(script: Path, *arguments: str, **environment: str) -> list[float]:
    """Run a script and return the numbers on the last line that it prints."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script.name} {' '.join(arguments)} failed:\n{done.stderr}")
    return [float(number) for number in done.stdout.strip().splitlines()[-1].split()]
