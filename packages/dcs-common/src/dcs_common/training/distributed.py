"""One process or many: what ``torchrun`` or SLURM started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run.

    Attributes:
        rank: number of this process.
        size: number of processes.
        device: where this process works.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def mean(self, value: float) -> float:
        """Return the mean of a number over all processes."""
        return self._reduced(value, dist.ReduceOp.SUM) / self.size

    def any(self, flag: bool) -> bool:
        """Tell whether any process says yes."""
        return self._reduced(float(flag), dist.ReduceOp.MAX) > 0

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()

    def _reduced(self, value: float, how: dist.ReduceOp.RedOpType) -> float:
        if self.size == 1:
            return value
        tensor: Tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=how)
        return float(tensor)


@contextmanager
def joined_world(device: str | torch.device = "cpu") -> Iterator[World]:
    """Join the processes that ``torchrun`` started, or stand alone without its variables.

    Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. On "cuda" each process takes
    the device of its LOCAL_RANK; communication is by gloo on the CPU and nccl on CUDA.
    """
    device = torch.device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if size == 1:
        yield World(0, 1, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(rank, size, device)
    finally:
        dist.destroy_process_group()
