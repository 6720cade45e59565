"""What changes from step to step, and its way into a checkpoint and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dcs_common.training.averaging import averaged_model
from dcs_common.training.checkpoint import Checkpoint, CheckpointError
from dcs_common.training.config import TrainingConfig
from dcs_common.training.distributed import World
from dcs_common.training.divergence import LossHistory
from dcs_common.training.divided import divided_like, own_part, whole
from dcs_common.training.optimizers import NetworkOptimizer
from dcs_common.training.task import TrainingTask

if TYPE_CHECKING:
    from dcs_common.training.sharding import PlainCopies, ShardedNetwork


class RunState:
    """Networks, their optimisers, the averaged weights, recent losses: a run between two steps.

    Attributes:
        sharded: the networks that are divided among processes, which are all or none.
    """

    def __init__(self, task: TrainingTask, config: TrainingConfig, world: World) -> None:
        self.world = world
        self.step = 0
        self.networks = dict(task.networks)
        self.main = next(iter(self.networks))
        for network in self.networks.values():
            network.train()  # before it is copied: what a network knew of its old weights is void
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            self.average = averaged_model(self.networks[self.main], config.ema_decay)
        self.sharded: Mapping[str, ShardedNetwork] = {}
        self._copies: PlainCopies | None = None
        if config.parallel == "fsdp" and world.size > 1:
            from dcs_common.training.sharding import shard  # takes seconds

            # Before optimisers see the weights.
            self.sharded, self._copies = shard(self.networks, self.average, task, world)
        self.optimizers = {
            name: NetworkOptimizer(
                network,
                config.optimizer
                if name == self.main or config.other_optimizer is None
                else config.other_optimizer,
                config.steps,
                task.hidden_matrices(name),
            )
            for name, network in self.networks.items()
        }
        self.losses = LossHistory(config.explosion_factor)

    def measured(self) -> nn.Module:
        """Return the model that is validated and shipped; every process must ask for it.

        Where networks are divided it is a plain copy, to be let go of soon.
        """
        model = self.networks[self.main] if self.average is None else self.average.module
        return model if self._copies is None else self._copies.of(model)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors of a checkpoint by name, none of them divided.

        Every process must call it; only the main one gets what was divided.
        """
        tensors = {
            f"random/{kind}{f'/{rank}' if rank else ''}": state
            for kind, own in _random_states(self.world.device).items()
            for rank, state in enumerate(self.world.gather(own))
        }
        for name, network in self.networks.items():
            for key, value in network.state_dict().items():
                tensors[f"network/{name}/{key}"] = value
            for key, value in self.optimizers[name].tensors().items():
                tensors[f"optimizer/{name}/{key}"] = value
        if self.average is not None:
            for key, value in self.average.state_dict().items():
                tensors[f"average/{key}"] = value
        return self._gathered(tensors) if self.sharded else tensors

    def _gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Make tensors whole in the main process, one at a time to need little memory."""
        found = {}
        for name, tensor in tensors.items():
            full = whole(tensor)
            if self.world.is_main:
                found[name] = full.cpu()
        return found

    def spoiled(self) -> str | None:
        """Name the first network whose weights or optimiser are not finite in any process."""
        shares: dict[str, Tensor | float] = {}
        for name, network in self.networks.items():
            state = self.optimizers[name].tensors().items()
            tensors = [*network.parameters(), *(v for k, v in state if not k.endswith("/step"))]
            finite = [own_part(t).isfinite().all() for t in tensors]
            shares[name] = torch.stack(finite).logical_not().any() if finite else 0.0
        found = self.world.means(shares)
        return next((name for name in self.networks if found[name] > 0), None)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint.

        Raises:
            CheckpointError: if its tensors are not those of these networks and this device.
        """
        tensors = checkpoint.tensors
        for name, network in self.networks.items():
            _load(network, f"network/{name}/", tensors)
            prefix = f"optimizer/{name}/"
            self.optimizers[name].load_tensors(_under(prefix, tensors))
        if self.average is not None:
            _load(self.average, "average/", tensors)
        rank = f"/{self.world.rank}" if self.world.rank else ""
        for kind, own in _random_states(self.world.device).items():
            # Processes beyond those of the checkpoint keep the states that they have.
            state = tensors.get(f"random/{kind}{rank}", own)
            if (state.dtype, state.shape) != (own.dtype, own.shape):
                raise CheckpointError(
                    f"A checkpoint's random state must fit torch's generator on {kind!r}, but is "
                    f"{state.dtype} {tuple(state.shape)}, not {own.dtype} {tuple(own.shape)}. "
                    "Go on with the release of torch that wrote it."
                )
            if kind == "cuda":
                torch.cuda.set_rng_state(state, self.world.device)
            else:
                torch.set_rng_state(state)
        self.step = checkpoint.step
        self.losses.restore(checkpoint.losses)


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _load(module: nn.Module, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    found = _under(prefix, tensors)
    expected = module.state_dict()
    differing = sorted(
        name
        for name in expected.keys() | found.keys()
        if name not in expected or name not in found or expected[name].shape != found[name].shape
    )
    if differing:
        raise CheckpointError(
            f"A checkpoint must fit the networks, but {len(differing)} of its tensors under "
            f"{prefix!r} are missing, unknown or of another shape (first: {differing[0]!r}). "
            "Go on with the code and settings that wrote it."
        )
    module.load_state_dict({k: divided_like(v, expected[k]) for k, v in found.items()})
