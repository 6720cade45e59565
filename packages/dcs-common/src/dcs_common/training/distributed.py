"""One process or many: what ``torchrun`` or SLURM started."""

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_PARTING = timedelta(seconds=10)


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

    def means(self, values: Mapping[str, Tensor | float]) -> dict[str, float]:
        """Return the means of numbers over all processes, which must name the same ones.

        One message and one wait for the device, however many they are.
        """
        if not values:
            return {}
        names = sorted(values)
        total = torch.stack(
            [
                torch.as_tensor(values[name]).detach().to(self.device, torch.float64).reshape(())
                for name in names
            ]
        )
        if self.size > 1:
            dist.all_reduce(total)
            total = total / self.size
        return dict(zip(names, total.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Tell whether any process says yes."""
        return self.means({"": float(flag)})[""] > 0

    def gather(self, value: Tensor) -> list[Tensor]:
        """Return the tensor of every process in order, on the CPU; their shapes must be equal."""
        if self.size == 1:
            return [value]
        here = value.to(self.device)
        everywhere = [torch.empty_like(here) for _ in range(self.size)]
        dist.all_gather(everywhere, here)
        return [tensor.cpu() for tensor in everywhere]

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined_world(device: str | torch.device = "cpu") -> Iterator[World]:
    """Join the processes that ``torchrun`` started, or stand alone without its variables.

    Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. On "cuda" each process takes
    the device of its LOCAL_RANK; communication is by gloo on the CPU and nccl on CUDA.

    Raises:
        ValueError: if WORLD_SIZE asks for several processes and other variables are missing, or
            there are fewer CUDA devices than processes on this machine.
    """
    device = torch.device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    missing = [name for name in _VARIABLES if name not in os.environ]
    if size > 1 and missing:
        raise ValueError(
            f"A run of {size} processes (WORLD_SIZE) must have {', '.join(_VARIABLES)} in its "
            f"environment, but lacks {', '.join(missing)}. Start it with torchrun."
        )
    if device.type == "cuda" and device.index is None:
        index, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if index >= count:
            raise ValueError(
                f"Each process of a machine must have a CUDA device of its own, but process "
                f"{index} (from 0) finds {count}. Start fewer processes, or use `--device cpu`."
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    if size == 1:
        yield World(0, 1, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(int(os.environ["RANK"]), size, device)
    finally:
        _leave(device)


def _leave(device: torch.device) -> None:
    """Leave the group together.

    Where a process leaves while another still talks, or DDP is still alive, gloo's threads now
    and then abort the process on its way out. Who fails waits for the others a while, in vain if
    they are gone.
    """
    gc.collect()
    if device.type == "cpu":
        with suppress(RuntimeError):
            dist.monitored_barrier(timeout=_PARTING)
    dist.destroy_process_group()
