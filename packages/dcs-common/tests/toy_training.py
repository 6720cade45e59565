"""Small training tasks whose runs are compared number by number.

As a script it trains in a process of its own: ``toy_training.py RUNS``, RUNS a JSON list of
arguments of :func:`run`.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from dcs_common.training import (
    OptimizerConfig,
    Share,
    TrainingConfig,
    TrainingResult,
    World,
    joined_world,
    seeded_generator,
    train,
)
from dcs_common.training.divided import own_part

ALONE = World(0, 1, torch.device("cpu"))
TIMES = ("seconds", "samples_per_second")


class Regressor(nn.Module):
    """5 numbers to 3; ``rare`` serves a few samples only and ``frozen`` does not learn."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 7), nn.Linear(7, 3)
        self.rare = nn.Parameter(torch.randn(3))
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.register_buffer("last_step", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, serves: Tensor) -> Tensor:
        y = self.second(self.first(x).tanh()) + self.frozen
        return y + serves[:, None] * self.rare if serves.any() else y


@dataclass(frozen=True)
class ToyBatch:
    x: Tensor
    y: Tensor

    def to(self, device: torch.device | str) -> "ToyBatch":
        return ToyBatch(self.x.to(device), self.y.to(device))


class ToySource:
    """Samples that depend on step and number alone."""

    def __init__(self, dtype: torch.dtype = torch.float32, *, length: int | None = None) -> None:
        self.dtype, self.length = dtype, length
        self.asked: list[Share] = []
        self.closed = False
        self.spoil: Callable[[Share, ToyBatch], ToyBatch] = lambda _share, batch: batch

    def batches(self, shares: Iterable[Share]) -> Iterator[ToyBatch]:
        # Held, so that only the loop's own closing ends it.
        self.iterator = self._batches(shares)
        return self.iterator

    def _batches(self, shares: Iterable[Share]) -> Iterator[ToyBatch]:
        try:
            for count, share in enumerate(shares):
                if count == self.length:
                    return
                self.asked.append(share)
                numbers = range(share.start, share.stop)
                drawn = torch.stack(
                    [
                        torch.randn(8, generator=seeded_generator("toy", share.step, g))
                        for g in numbers
                    ]
                ).to(self.dtype)
                yield self.spoil(share, ToyBatch(drawn[:, :5], drawn[:, 5:]))
        finally:
            self.closed = True


class Regression:
    """Mean squares; ``rare`` serves the given samples of odd steps."""

    def __init__(self, dtype: torch.dtype = torch.float32, *, rare: tuple[int, int] = (0, 2)):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.networks: dict[str, nn.Module] = {"model": Regressor().to(dtype)}
        self.rare = rare
        self.draws_globally = False
        self.before: Callable[[Share], object] = lambda _share: None
        self.validated: list[int] = []

    def hidden_matrices(self, network: str) -> Collection[str]:
        return ("first.weight",) if network == "model" else ()

    def losses(
        self, batch: ToyBatch, share: Share, call: Mapping[str, nn.Module]
    ) -> Iterator[tuple[str, Tensor, Mapping[str, Tensor | float]]]:
        self.before(share)
        self.networks["model"].last_step.fill_(share.step)
        numbers = torch.arange(share.start, share.stop)
        first, last = self.rare
        serves = (share.step % 2 == 1) & (numbers >= first) & (numbers < last)
        error = call["model"](batch.x, serves) - batch.y
        loss = error.square().mean()
        if self.draws_globally:
            loss = loss + 0.1 * (error * torch.randn(3)).mean()
        yield "model", loss, {"bias": error.mean(), "half": 0.5}

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        self.validated.append(int(model.last_step) + 1)
        torch.randn(7)  # must not reach what the training draws
        return {"norm": float(model.first.weight.norm())}

    def images(self, batch: ToyBatch, model: nn.Module) -> Mapping[str, Tensor]:
        assert not model.training
        return {"x": batch.x[:, :3, None, None].expand(-1, -1, 4, 5)}


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 11), nn.LeakyReLU(0.2), nn.Linear(11, 1))

    def forward(self, y: Tensor) -> Tensor:
        return self.layers(y)


class Game(Regression):
    """The regression against a critic."""

    def __init__(self, dtype: torch.dtype = torch.float32, **rest: Any) -> None:
        super().__init__(dtype, **rest)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.networks["critic"] = Critic().to(dtype)

    def losses(
        self, batch: ToyBatch, share: Share, call: Mapping[str, nn.Module]
    ) -> Iterator[tuple[str, Tensor, Mapping[str, Tensor | float]]]:
        self.before(share)
        self.networks["model"].last_step.fill_(share.step)
        critic = self.networks["critic"].requires_grad_(False)
        fake = call["model"](batch.x, torch.zeros(len(batch.x), dtype=torch.bool))
        yield "model", (fake - batch.y).square().mean() - 0.3 * critic(fake).mean(), {}
        if share.step == 2:
            return  # a pause: the critic has no gradient in this step
        critic.requires_grad_(True)
        real, fake = call["critic"](torch.cat([batch.y, fake.detach()])).chunk(2)
        yield "critic", (1 - real).relu().mean() + (1 + fake).relu().mean(), {"real": real.mean()}


class Block(nn.Module):
    """A residual layer of two matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(x).tanh())


class Tower(Regressor):
    """The regressor on what blocks make of its input, with one linear layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.blocks = nn.Linear(5, 6), nn.ModuleList(Block() for _ in range(3))
        self.leave = nn.Linear(6, 5)
        self.leave_again = self.leave
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)

    def forward(self, x: Tensor, serves: Tensor) -> Tensor:
        hidden = self.enter(x)
        for block in self.blocks:
            hidden = block(hidden)
        left = self.leave(hidden) + self.leave_again(hidden.tanh())
        return super().forward(self.scale * left, serves)[None].squeeze(0)  # a view


class Towers(Regression):
    """The regression by blocks that are named for FSDP2."""

    def __init__(self, dtype: torch.dtype = torch.float32, **rest: Any) -> None:
        super().__init__(dtype, **rest)
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.networks = {"model": Tower().to(dtype)}

    def hidden_matrices(self, network: str) -> Collection[str]:
        return tuple(f"blocks.{i}.{name}.weight" for i in range(3) for name in ("up", "down"))

    def blocks(self, network: str) -> Iterable[nn.Module]:
        return self.networks[network].blocks


TASKS = {"regression": Regression, "game": Game, "towers": Towers}


def settings(*, matrix_rate: float | None = None, **changes: Any) -> TrainingConfig:
    """Return settings under which every part of a run has something to do."""
    optimizer = OptimizerConfig(
        learning_rate=0.02,
        weight_decay=0.1,
        matrix_learning_rate=matrix_rate,
        warmup_steps=3,
        schedule="cosine",
        final_fraction=0.1,
    )
    config = TrainingConfig(
        steps=11,
        batch_size=8,
        optimizer=optimizer,
        other_optimizer=replace(optimizer, learning_rate=0.03, weight_decay=0.0),
        clip_norm=0.7,
        ema_decay=0.9,
        precision="float32",
        checkpoint_every=4,
        log_every=2,
        validate_every=3,
    )
    return replace(config, **changes)


def train_toy(
    task: Regression, config: TrainingConfig, folder: Path, **options: Any
) -> TrainingResult:
    """Train with the toy source, alone unless told otherwise."""
    dtype = next(task.networks["model"].parameters()).dtype
    return train(
        task,
        options.pop("source", None) or ToySource(dtype),
        config,
        folder,
        **{"world": ALONE, "identity": {"toy": True}, "progress": False} | options,
    )


def saved(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a run's checkpoint."""
    return load_file(folder / "checkpoint.safetensors")


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return what a run logged, without times."""
    records = map(json.loads, (folder / "scalars.jsonl").read_text().splitlines())
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def assert_same_run(one: Path, other: Path) -> None:
    """Compare weights, averages, optimisers, random states and the log, bit for bit."""
    left, right = saved(one), saved(other)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name
    assert lines(one) == lines(other)


def run(
    world: World,
    *,
    folder: str,
    task: str = "regression",
    dtype: str = "float32",
    rare: Sequence[int] = (0, 2),
    kill_at: int | None = None,
    kill_in: str = "step",
    full_at: int | None = None,
    nan_at: int | None = None,
    nan_rank: int = 0,
    stop_at: int | None = None,
    stop_rank: int = 0,
    spoil_at: int | None = None,
    **changes: Any,
) -> None:
    """Train one toy in this process; steps count from 0.

    What comes of it is written into the folder too: the model, and what this process holds.

    Args:
        world: the processes.
        folder, task, dtype, rare: of the run.
        kill_at, kill_in: die in this step, or in a function of ``os`` from then on.
        full_at: the disk is full from this step on.
        nan_at, nan_rank: spoil a batch of this step in one process.
        stop_at, stop_rank: one process asks to stop after this step.
        spoil_at: a weight that is not used is infinite in process 1 from this step on.
        changes: of the settings.
    """
    toy = TASKS[task](getattr(torch, dtype), rare=(rare[0], rare[1]))
    toy.draws_globally = kill_at is not None
    torch.manual_seed(7 + world.rank)
    source, now = ToySource(getattr(torch, dtype)), [-1]

    def kill(*_args: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def before(share: Share) -> None:
        now[0] = share.step
        if share.step == kill_at and kill_in == "step":
            kill()
        if share.step == kill_at:
            setattr(os, kill_in, kill)
        if share.step == spoil_at and world.rank == 1:
            own_part(toy.networks["model"].rare.detach()).fill_(torch.inf)
        if share.step == full_at:
            os.fsync = full

    def spoil(share: Share, batch: ToyBatch) -> ToyBatch:
        bad = share.step == nan_at and world.rank == nan_rank
        return replace(batch, y=batch.y * torch.nan) if bad else batch

    toy.before, source.spoil = before, spoil
    result = train_toy(
        toy,
        settings(**changes),
        Path(folder),
        world=world,
        source=source,
        stop=lambda: now[0] == stop_at and world.rank == stop_rank,
    )
    write_result(result.model, Path(folder) / f"result.{world.rank}.safetensors")
    model = toy.networks["model"]
    held = {
        "weights": sum(own_part(p).numel() for p in model.parameters()),
        "parts": sum(isinstance(module, FSDPModule) for module in model.modules()),
    }
    (Path(folder) / f"held.{world.rank}.json").write_text(json.dumps(held))


def write_result(model: nn.Module, path: Path) -> None:
    """Write the weights of a model and what it makes of some numbers."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        x = torch.linspace(-1, 1, 10).reshape(2, 5).to(model.first.weight)
        weights["of numbers"] = model(x, torch.zeros(2, dtype=torch.bool))
    save_file(weights, path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined_world() as joined:
        for arguments in json.loads(sys.argv[1]):
            run(joined, **arguments)
