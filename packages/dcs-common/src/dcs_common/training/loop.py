"""The training loop that tokenizer and generator share.

    batches -> task.losses -> backward, averaged over micro-batches and processes
            -> gradient norm, clipping -> optimisers -> averaged weights -> log, checkpoint

A run lives in one folder. It goes on from the checkpoint there by itself, to the same numbers as
without the pause (bit for bit on one CPU; the same data and draws anywhere). Exactness rests on
stateless draws (:mod:`dcs_common.training.seeds`): a source and a task are asked for a step, never
for "the next".
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from dcs_common.training.averaging import averaged_model
from dcs_common.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dcs_common.training.config import TrainingConfig
from dcs_common.training.distributed import World
from dcs_common.training.optimizers import NetworkOptimizer
from dcs_common.training.run_log import RunLog
from dcs_common.training.task import BatchSource, Share, TrainingTask

_LOSSES_KEPT = 101


class TrainingDiverged(ValueError):  # noqa: N818 - it reads as what happened
    """A loss or gradient is not finite, or a loss has exploded."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a call of :func:`train` did.

    Attributes:
        step: steps done in all.
        finished: whether that is all of them.
        samples: seen in all.
        seconds: this call took.
        model: the first network with its averaged weights, or as it is without an average.
    """

    step: int
    finished: bool
    samples: int
    seconds: float
    model: nn.Module


def train(
    task: TrainingTask,
    source: BatchSource,
    config: TrainingConfig,
    folder: Path,
    *,
    world: World,
    identity: Mapping[str, Any],
    may_change: Collection[str] = (),
    stop: Callable[[], bool] | None = None,
    progress: bool = True,
) -> TrainingResult:
    """Train until the last step, a stop request, SIGTERM or SIGINT.

    Args:
        task: the networks, on ``world.device``, and their losses.
        source: batches.
        config: the settings.
        folder: the run's; its checkpoint is gone on from.
        world: the processes (:func:`dcs_common.training.joined_world`).
        identity: what the run is, as JSON values; a checkpoint of another one is refused.
        may_change: keys of ``identity`` that may differ from the checkpoint's.
        stop: asked after every step; True saves and returns.
        progress: show a bar on a terminal.

    Raises:
        TrainingDiverged: if a loss or gradient is not finite, or a loss has exploded.
        CheckpointError: if the folder's checkpoint cannot be used, or one could not be written.
        ValueError: if the batch cannot be divided.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(task, config, folder, world)
    found = load_checkpoint(folder, identity, may_change)
    if found is not None:
        run.restore(found)
    log = RunLog(folder, run.step, config.steps, is_main=world.is_main, progress=progress)
    start, first = time.monotonic(), run.step
    with _stop_signals() as asked:
        try:
            for step, batches in run.steps(source):
                run.take_step(step, batches, log, time.monotonic() - start, step + 1 - first)
                stopping = world.any(asked.is_set() or (stop is not None and stop()))
                last = run.step == config.steps
                due = config.checkpoint_every and run.step % config.checkpoint_every == 0
                if stopping or last or due:
                    run.save(identity)
                if stopping:
                    break
        finally:
            log.close()
    return TrainingResult(
        step=run.step,
        finished=run.step == config.steps,
        samples=run.step * config.batch_size,
        seconds=time.monotonic() - start,
        model=run.measured,
    )


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn SIGTERM and SIGINT into an event, in the main thread."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: asked.set())
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    """The state of a run between two steps."""

    def __init__(
        self, task: TrainingTask, config: TrainingConfig, folder: Path, world: World
    ) -> None:
        self.task, self.config, self.folder, self.world = task, config, folder, world
        self.step = 0
        self.networks = dict(task.networks)
        self.main = next(iter(self.networks))
        self.share_size = config.samples_per_share(world.size)
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
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            self.average = averaged_model(self.networks[self.main], config.ema_decay)
        self.call = {name: self._wrapped(network) for name, network in self.networks.items()}
        self.losses: deque[float] = deque(maxlen=_LOSSES_KEPT)

    @property
    def measured(self) -> nn.Module:
        """The model that is validated and shipped."""
        return self.networks[self.main] if self.average is None else self.average.module

    def _wrapped(self, network: nn.Module) -> nn.Module:
        wrapped = network
        if self.world.size > 1 and any(p.requires_grad for p in network.parameters()):
            ids = None if self.world.device.type == "cpu" else [self.world.device]
            # A batch of pictures leaves what only clips use without gradients.
            wrapped = DistributedDataParallel(
                network, device_ids=ids, find_unused_parameters=True, broadcast_buffers=False
            )
        return torch.compile(wrapped) if self.config.compile else wrapped  # type: ignore[return-value]

    # ------------------------------------------------------------------ steps

    def shares(self) -> Iterator[Share]:
        """Yield this process's shares of all steps to come."""
        size, config = self.share_size, self.config
        for step in range(self.step, config.steps):
            for i in range(config.accumulate):
                start = (i * self.world.size + self.world.rank) * size
                yield Share(step, start, start + size, config.batch_size)

    def steps(self, source: BatchSource) -> Iterator[tuple[int, Iterator[tuple[Share, Any]]]]:
        """Yield each step to come with its micro-batches, which must be taken."""
        batches = source.batches(self.shares())
        shares = self.shares()
        for step in range(self.step, self.config.steps):
            pairs = ((next(shares), next(batches)) for _ in range(self.config.accumulate))
            yield step, pairs

    def take_step(
        self,
        step: int,
        batches: Iterator[tuple[Share, Any]],
        log: RunLog,
        seconds: float,
        done: int,
    ) -> None:
        """Train on one step's micro-batches."""
        config = self.config
        for network in self.networks.values():
            network.train()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        sums: dict[str, float] = {}
        batch = None
        for i, (share, batch) in enumerate(batches):
            batch = batch.to(self.world.device)
            self._backward(batch, share, sums, is_last=i == config.accumulate - 1)
        for name, optimizer in self.optimizers.items():
            limit = config.clip_norm or float("inf")
            norm = float(nn.utils.clip_grad_norm_(optimizer.parameters, limit))
            sums[f"gradient/{name}"] = norm
            if not isfinite(norm):
                self._diverged(f"the gradient of {name!r} has norm {norm}")
        factors = {name: opt.step(step) for name, opt in self.optimizers.items()}
        if self.average is not None:
            self.average.update_parameters(self.networks[self.main])
        self.step = step + 1
        log.advance(sums[f"loss/{self.main}"])
        self._report(log, sums, factors, seconds, done)
        if _is_due(config.validate_every, self.step) or (
            config.validate_every and self.step == config.steps
        ):
            self._validate(log)
        if _is_due(config.images_every, self.step) and self.world.is_main:
            self.measured.eval()
            with torch.no_grad():
                log.images(self.step, self.task.images(batch, self.measured))

    def _backward(self, batch: Any, share: Share, sums: dict[str, float], *, is_last: bool) -> None:
        config = self.config
        autocast: Any = nullcontext()
        if config.precision == "bfloat16":
            autocast = torch.autocast(self.world.device.type, torch.bfloat16)
        with ExitStack() as quiet:
            if not is_last:  # gradients meet at the last micro-batch
                for module in self.call.values():
                    if isinstance(module, DistributedDataParallel):
                        quiet.enter_context(module.no_sync())
            losses = self.task.losses(batch, share, self.call)
            while True:
                with autocast:
                    found = next(losses, None)
                if found is None:
                    return
                name, loss, scalars = found
                self._check_loss(name, loss)
                (loss / config.accumulate).backward()
                for key, value in {f"loss/{name}": loss.detach(), **scalars}.items():
                    sums[key] = sums.get(key, 0.0) + float(value) / config.accumulate

    def _check_loss(self, name: str, loss: Tensor) -> None:
        value = float(loss.detach())
        bad = not isfinite(value)
        if name == self.main and not bad:
            factor = self.config.explosion_factor
            if factor is not None and len(self.losses) == _LOSSES_KEPT:
                usual = median(self.losses)
                bad = value > usual + factor * abs(usual)
            if not bad:
                self.losses.append(value)
        if self.world.any(bad):
            self._diverged(f"the loss of {name!r} is {value:g}")

    def _diverged(self, what: str) -> None:
        kept = self.folder / "checkpoint.safetensors"
        last = f"The last good checkpoint is {kept}" if kept.exists() else "There is no checkpoint"
        raise TrainingDiverged(
            f"Losses and gradients must stay finite and near their usual size, but at step "
            f"{self.step + 1} {what}. {last}. Lower the learning rate or `clip_norm`, or "
            "normalise queries and keys (`qk_norm`), and look at the batch of that step."
        )

    def _report(
        self,
        log: RunLog,
        sums: dict[str, float],
        factors: dict[str, float],
        seconds: float,
        done: int,
    ) -> None:
        config = self.config
        if not (_is_due(config.log_every, self.step) or self.step == config.steps):
            return
        values = {name: self.world.mean(value) for name, value in sorted(sums.items())}
        for name, factor in factors.items():
            values[f"rate/{name}"] = self.optimizers[name].config.learning_rate * factor
        values["samples"] = self.step * config.batch_size
        values["samples_per_second"] = done * config.batch_size / max(seconds, 1e-9)
        log.scalars(self.step, values)

    def _validate(self, log: RunLog) -> None:
        self.measured.eval()
        with torch.no_grad():
            found = self.task.validate(self.measured) if self.world.is_main else {}
        self.world.wait()
        if found:
            log.scalars(self.step, {f"validation/{k}": float(v) for k, v in found.items()})

    # ------------------------------------------------------------------ checkpoints

    def save(self, identity: Mapping[str, Any]) -> None:
        """Write a checkpoint; only the main process does."""
        if self.world.is_main:
            tensors: dict[str, Tensor] = {"random/cpu": torch.get_rng_state()}
            if torch.cuda.is_available():
                tensors["random/cuda"] = torch.cuda.get_rng_state(self.world.device)
            for name, network in self.networks.items():
                for key, value in network.state_dict().items():
                    tensors[f"network/{name}/{key}"] = value
                for key, value in self.optimizers[name].tensors().items():
                    tensors[f"optimizer/{name}/{key}"] = value
            if self.average is not None:
                for key, value in self.average.state_dict().items():
                    tensors[f"average/{key}"] = value
            checkpoint = Checkpoint(self.step, identity, tensors, tuple(self.losses))
            save_checkpoint(self.folder, checkpoint)
        self.world.wait()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint."""
        tensors = checkpoint.tensors

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        for name, network in self.networks.items():
            network.load_state_dict(under(f"network/{name}/"))
            self.optimizers[name].load_tensors(under(f"optimizer/{name}/"))
        if self.average is not None:
            self.average.load_state_dict(under("average/"))
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors and self.world.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], self.world.device)
        self.step = checkpoint.step
        self.losses.extend(checkpoint.losses)


def _is_due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0
