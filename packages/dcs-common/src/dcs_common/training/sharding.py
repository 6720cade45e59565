"""Networks whose weights, gradients and optimiser state are divided among processes: FSDP2.

Every process holds a part of each weight (``DTensor``). A block's weights are whole on all of
them only while it works: gathered before its forward and again before its backward, after which
each process keeps its part of the mean gradient.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.optim.swa_utils import AveragedModel

from dcs_common.training.distributed import World
from dcs_common.training.divided import whole
from dcs_common.training.task import NamesBlocks, TrainingTask


def shard(
    networks: Mapping[str, nn.Module],
    average: AveragedModel | None,
    task: TrainingTask,
    world: World,
) -> tuple[dict[str, "ShardedNetwork"], "PlainCopies"]:
    """Divide networks and the averaged weights among processes, in place.

    All get the main process's weights, as with DDP.

    Returns:
        The networks, and what makes plain ones like the first.
    """
    # It is about in-place work on outputs, which `TrainingTask.losses` forbids.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    mesh = init_device_mesh(world.device.type, (world.size,))
    copies, sharded = PlainCopies(next(iter(networks.values()))), {}
    for name, network in networks.items():
        _send_from_main(network)
        blocks = task.blocks(name) if isinstance(task, NamesBlocks) else ()
        sharded[name] = ShardedNetwork(network, blocks, mesh)
    if average is not None:  # is never called, so it needs no blocks
        _send_from_main(average)
        fully_shard(average.module, mesh=mesh)
    return sharded, copies


def _send_from_main(network: nn.Module) -> None:
    for parameter in network.parameters():
        dist.broadcast(parameter.detach(), 0)


class PlainCopies:
    """Makes whole copies of a network that is about to be divided.

    FSDP2 changes the class of a network, so what copies are made of is taken before; it has no
    weights.
    """

    def __init__(self, network: nn.Module) -> None:
        self._shell = _copy(network, {k: p.to("meta") for k, p in network.named_parameters()})

    def of(self, divided: nn.Module) -> nn.Module:
        """Return a plain network with the weights and buffers; every process must ask for it."""
        weights = {name: whole(p.detach()) for name, p in divided.named_parameters()}
        plain = _copy(self._shell, weights)
        buffers = dict(divided.named_buffers())
        for name, buffer in plain.named_buffers():
            buffer.copy_(buffers[name])
        return plain


def _copy(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Copy a network with other tensors for its weights, which are not copied."""
    replaced: dict[int, Any] = {
        id(p): nn.Parameter(weights[name].detach(), p.requires_grad)
        for name, p in network.named_parameters()
    }
    return deepcopy(network, replaced)


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """Yield the tensors that a network returned."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from _tensors(value)
    elif isinstance(outputs, tuple | list):
        for value in outputs:
            yield from _tensors(value)
    elif is_dataclass(outputs):
        for field in fields(outputs):
            yield from _tensors(getattr(outputs, field.name))


class _Weight(NamedTuple):
    """Where the weight of a unit is found, whole or as a part."""

    name: str
    owner: nn.Module
    key: str


class ShardedNetwork:
    """A network divided among processes, in place.

    Its gradients stay with each process until :meth:`reducing`. Unlike FSDP2 alone it lets
    processes differ in the weights that they use, as DDP does (``find_unused_parameters``).

    Args:
        network: equal in all processes.
        blocks: parts that are gathered one at a time, not with the rest.
        mesh: the processes.
    """

    def __init__(self, network: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh) -> None:
        self._reduces = False
        self._used: set[str] = set()
        self._watched: set[str] = set()
        names = {p: name for name, p in network.named_parameters()}
        self._names = list(names.values())
        for unit in (*blocks, network):
            weights = [
                _Weight(names.pop(p), owner, key)
                for owner in unit.modules()
                for key, p in owner.named_parameters(recurse=False)
                if p in names
            ]
            fully_shard(unit, mesh=mesh)
            # After FSDP2's own hook, so that a unit's weights are whole in this one.
            unit.register_forward_hook(self._hook(weights))
        self.network = cast(FSDPModule, network)
        self.network.set_requires_gradient_sync(False)

    def _hook(self, weights: list[_Weight]) -> Callable[[nn.Module, Any, Any], None]:
        def before_backward(_gradient: Tensor) -> None:
            for weight in weights:
                self._prepare(weight)

        @torch.compiler.disable
        def after_forward(_unit: nn.Module, _inputs: Any, outputs: Any) -> None:
            for output in _tensors(outputs):
                if output.requires_grad:
                    output.register_hook(before_backward)

        return after_forward

    def _prepare(self, weight: _Weight) -> None:
        """Watch whether a weight is used, and give it a gradient where it is not.

        Processes that send different gradients to one another wait forever.
        """
        parameter = getattr(weight.owner, weight.key)
        if not parameter.requires_grad:
            return
        if weight.name not in self._watched:  # FSDP2 keeps the parameter and frees its storage
            self._watched.add(weight.name)
            parameter.register_post_accumulate_grad_hook(lambda _: self._used.add(weight.name))
        if self._reduces and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)

    @contextmanager
    def reducing(self) -> Iterator[None]:
        """Average gradients over processes in the backward pass, with what had been kept."""
        self._reduces = True
        self.network.set_requires_gradient_sync(True)
        try:
            yield
        finally:
            self._reduces = False
            self.network.set_requires_gradient_sync(False)

    def finish_backward(self, world: World) -> None:
        """Free gathered weights; what no process has used has no gradient, as in one process."""
        network = cast(nn.Module, self.network)
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
        used = world.means({name: float(name in self._used) for name in self._names})
        self._used.clear()
        for name, parameter in network.named_parameters():
            if not used[name]:
                parameter.grad = None
