"""The training loop that tokenizer and generator share.

    batches -> task.losses -> backward, averaged over micro-batches and processes
            -> gradient norm, clipping -> optimisers -> averaged weights -> log, checkpoint

A run lives in one folder. It goes on from the checkpoint there by itself, to the same numbers as
without the pause (bit for bit on one CPU; the same data and draws anywhere). Exactness rests on
stateless draws (:mod:`dcs_common.training.seeds`): a source and a task are asked for a step, never
for "the next".
"""

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dcs_common.training.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from dcs_common.training.config import TrainingConfig
from dcs_common.training.distributed import World
from dcs_common.training.divergence import TrainingDiverged
from dcs_common.training.divided import whole
from dcs_common.training.run_log import RunLog
from dcs_common.training.run_state import RunState
from dcs_common.training.stop_signals import stop_signals
from dcs_common.training.task import BatchSource, Share, TrainingTask


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a call of :func:`train` did.

    Attributes:
        step: steps done in all.
        finished: whether that is all of them.
        samples: seen in all.
        seconds: this call took.
        model: the first network with its averaged weights, or as it is without an average; a
            plain copy in every process where networks are divided.
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
        task: the networks, on ``world.device``, and their losses. With ``parallel="fsdp"`` and
            several processes its networks are divided among them and stay so.
        source: batches.
        config: the settings.
        folder: the run's; its checkpoint is gone on from.
        world: the processes (:func:`dcs_common.training.joined_world`).
        identity: what the run is, as JSON values; a checkpoint of another one is refused.
        may_change: keys of ``identity`` that may differ from the checkpoint's, with dots for
            what is nested; a key stands for all that is under it.
        stop: asked after every step; True saves and returns.
        progress: show a bar on a terminal.

    Raises:
        TrainingDiverged: if a loss, a gradient or what a checkpoint would hold is not finite, or
            a loss has exploded. All processes stop at the same step and the last checkpoint
            stays.
        CheckpointError: if the folder's checkpoint cannot be used, or one could not be written.
        ValueError: if the batch cannot be divided, or the source has too few.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(task, config, folder, world)
    found = load_checkpoint(folder, identity, may_change)
    if found is not None:
        run.state.restore(found)
    log = RunLog(folder, run.state.step, config.steps, is_main=world.is_main, progress=progress)
    start, first = time.monotonic(), run.state.step
    with stop_signals() as asked, closing(run.steps(source)) as steps:
        try:
            for step, batches in steps:
                values = run.take_step(step, batches)
                run.report(log, values, time.monotonic() - start, step + 1 - first)
                stopping = world.any(asked.is_set() or (stop is not None and stop()))
                last = run.state.step == config.steps
                if stopping or last or _is_due(config.checkpoint_every, run.state.step):
                    run.save(identity)
                if stopping:
                    break
        finally:
            log.close()
    return TrainingResult(
        step=run.state.step,
        finished=run.state.step >= config.steps,
        samples=run.state.step * config.batch_size,
        seconds=time.monotonic() - start,
        model=run.state.measured(),
    )


class _Run:
    """A task under way."""

    def __init__(
        self, task: TrainingTask, config: TrainingConfig, folder: Path, world: World
    ) -> None:
        self.task, self.config, self.folder, self.world = task, config, folder, world
        self.share_size = config.samples_per_share(world.size)
        self.state = RunState(task, config, world)
        self.parallel: list[DistributedDataParallel] = []
        self.call = {name: self._wrapped(name) for name in self.state.networks}
        self.batch: Any = None

    def _wrapped(self, name: str) -> nn.Module:
        network = wrapped = self.state.networks[name]
        if self.config.compile:
            network.compile()  # in place, as each network knows best what of it can be
        learns = any(p.requires_grad for p in network.parameters())
        if self.world.size > 1 and learns and name not in self.state.sharded:
            ids = None if self.world.device.type == "cpu" else [self.world.device]
            # A batch of pictures leaves what only clips use without gradients.
            wrapped = DistributedDataParallel(
                network, device_ids=ids, find_unused_parameters=True, broadcast_buffers=False
            )
            self.parallel.append(wrapped)
        return wrapped

    # ------------------------------------------------------------------ steps

    def steps(
        self, source: BatchSource
    ) -> Generator[tuple[int, Iterator[tuple[Share, Any]]], None, None]:
        """Yield each step to come with its micro-batches, which must be taken."""
        first, config = self.state.step, self.config
        to_come = (s for step in range(first, config.steps) for s in self.shares(step))
        batches = iter(source.batches(to_come))
        try:
            for step in range(first, config.steps):
                yield step, self._pairs(step, batches)
        finally:
            if hasattr(batches, "close"):
                batches.close()

    def shares(self, step: int) -> Iterator[Share]:
        """Yield this process's shares of a step."""
        size, config = self.share_size, self.config
        for i in range(config.accumulate):
            start = (i * self.world.size + self.world.rank) * size
            yield Share(step, start, start + size, config.batch_size)

    def _pairs(self, step: int, batches: Iterator[Any]) -> Iterator[tuple[Share, Any]]:
        for share in self.shares(step):
            try:
                batch = next(batches)
            except StopIteration:
                raise ValueError(
                    "The source must yield one batch for each share, but it ended before step "
                    f"{step + 1} of {self.config.steps}. Repeat its data."
                ) from None
            yield share, batch

    def take_step(self, step: int, batches: Iterator[tuple[Share, Any]]) -> dict[str, float]:
        """Train on one step's micro-batches; return what there is to log."""
        state, config = self.state, self.config
        for network in state.networks.values():
            network.train()
        for optimizer in state.optimizers.values():
            optimizer.zero_grad()
        sums: dict[str, Tensor | float] = {}
        for i, (share, batch) in enumerate(batches):
            self.batch = batch.to(self.world.device)
            self._backward(share, sums, is_last=i == config.accumulate - 1)
        for sharded in state.sharded.values():
            sharded.finish_backward(self.world)
        limit = config.clip_norm or float("inf")
        for name, optimizer in state.optimizers.items():
            sums[f"gradient/{name}"] = whole(nn.utils.clip_grad_norm_(optimizer.parameters, limit))
        values = self.world.means(sums)
        self._check(values)
        for name, optimizer in state.optimizers.items():
            factor = optimizer.step(step)
            values[f"rate/{name}"] = optimizer.config.learning_rate * factor
        if state.average is not None:
            state.average.update_parameters(state.networks[state.main])
        state.step = step + 1
        return values

    def _backward(self, share: Share, sums: dict[str, Tensor | float], *, is_last: bool) -> None:
        config = self.config
        autocast: Any = nullcontext()
        if config.precision == "bfloat16":
            autocast = torch.autocast(self.world.device.type, torch.bfloat16)
        with ExitStack() as quiet:
            if not is_last:  # gradients meet at the last micro-batch
                for module in self.parallel:
                    quiet.enter_context(module.no_sync())
            losses = self.task.losses(self.batch, share, self.call)
            while True:
                with autocast:
                    found = next(losses, None)
                if found is None:
                    return
                name, loss, scalars = found
                sharded = self.state.sharded.get(name)
                with sharded.reducing() if sharded and is_last else nullcontext():
                    (loss / config.accumulate).backward()
                for key, value in {f"loss/{name}": loss.detach(), **scalars}.items():
                    if isinstance(value, Tensor):
                        value = value.detach().double()
                    sums[key] = sums.get(key, 0.0) + value / config.accumulate

    def _check(self, values: Mapping[str, float]) -> None:
        """Stop before a step that would spoil the weights; all processes see the same values."""
        step = self.state.step + 1
        for name in self.state.networks:
            loss = values.get(f"loss/{name}", 0.0)
            norm = values[f"gradient/{name}"]
            if not isfinite(loss):
                self._diverged(step, f"the loss of {name!r} is {loss:g}")
            if not isfinite(norm):
                self._diverged(step, f"the gradient of {name!r} has norm {norm:g}")
        main = f"loss/{self.state.main}"
        if main in values and not self.state.losses.accepts(values[main]):
            self._diverged(step, f"the loss of {self.state.main!r} is {values[main]:g}")

    def _diverged(self, step: int, what: str) -> None:
        kept = self.folder / CHECKPOINT_FILE
        last = f"The last good checkpoint is {kept}" if kept.exists() else "There is no checkpoint"
        raise TrainingDiverged(
            "Losses and gradients must stay finite and near their usual size, but at step "
            f"{step} {what}. {last}. Lower the learning rate or `clip_norm`, or normalise "
            "queries and keys (`qk_norm`), and look at the batch of that step."
        )

    # ------------------------------------------------------------------ reports

    def report(self, log: RunLog, values: dict[str, float], seconds: float, done: int) -> None:
        """Log what is due after a step: scalars, a validation, pictures."""
        config, state = self.config, self.state
        step, is_last = state.step, state.step == config.steps
        log.advance(values.get(f"loss/{state.main}"))
        if _is_due(config.log_every, step) or is_last:
            values["samples"] = step * config.batch_size
            values["seconds"] = seconds
            values["samples_per_second"] = done * config.batch_size / max(seconds, 1e-9)
            log.scalars(step, values)
        if config.validate_every and (_is_due(config.validate_every, step) or is_last):
            with self._measuring() as model:
                found = self.task.validate(model) if self.world.is_main else {}
            self.world.wait()
            if found:
                log.scalars(step, {f"validation/{k}": float(v) for k, v in found.items()})
        if _is_due(config.images_every, step) and self.world.any(log.shows_images):
            with self._measuring() as model:
                if log.shows_images:
                    log.images(step, self.task.images(self.batch, model))

    @contextmanager
    def _measuring(self) -> Iterator[nn.Module]:
        """Give the measured model in eval mode; what is drawn in here is as if not drawn."""
        device = self.world.device
        model = self.state.measured().eval()
        with (
            torch.no_grad(),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
        ):
            yield model

    # ------------------------------------------------------------------ checkpoints

    def save(self, identity: Mapping[str, Any]) -> None:
        """Write a checkpoint in the main process; all of them fail if that does."""
        state = self.state
        spoiled = state.spoiled()  # finite gradients can still step out of range
        if spoiled is not None:
            self._diverged(state.step, f"the weights or optimiser of {spoiled!r} are not finite")
        tensors = state.tensors()
        failure: CheckpointError | None = None
        if self.world.is_main:
            try:
                save_checkpoint(
                    self.folder,
                    Checkpoint(state.step, identity, tensors, tuple(state.losses.values)),
                )
            except CheckpointError as error:
                failure = error
        if self.world.any(failure is not None):
            raise failure or CheckpointError(
                f"A checkpoint must be written whole, but that of step {state.step} could not be. "
                "See the message of the main process."
            )


def _is_due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0
