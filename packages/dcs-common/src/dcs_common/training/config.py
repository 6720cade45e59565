"""Settings of a training run."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "bfloat16"]
Parallel = Literal["ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW, with Muon for the matrices that a model names, and the learning rate over time.

    Attributes:
        learning_rate: of AdamW, in full.
        betas: of AdamW.
        weight_decay: decoupled; on matrices and kernels, never on vectors.
        matrix_learning_rate: of Muon (``torch.optim.Muon``, scaled to AdamW's step size), for
            :meth:`TrainingTask.hidden_matrices`; None leaves them to AdamW.
        factors: (prefix, factor) pairs; parameters whose names start with the prefix learn at so
            many times the rate.
        warmup_steps: the rate grows linearly over these.
        schedule: "constant", or "cosine", which falls to ``final_fraction`` as the run ends.
        final_fraction: what is left of the rate at the end.
    """

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    matrix_learning_rate: float | None = None
    factors: tuple[tuple[str, float], ...] = ()
    warmup_steps: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    final_fraction: float = 0.0

    def factor_of(self, name: str) -> float:
        """Return the factor of a parameter's learning rate."""
        return next((f for prefix, f in self.factors if name.startswith(prefix)), 1.0)

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(
                f"`schedule` must be 'constant' or 'cosine', but is {self.schedule!r}."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(
                f"`betas` must be in [0, 1), but are {self.betas}. The paper uses (0.9, 0.95)."
            )
        rates = (self.learning_rate, self.weight_decay, self.matrix_learning_rate or 0.0)
        if min(rates) < 0 or not all(rate < float("inf") for rate in rates):
            raise ValueError(
                "Learning rates and weight decay must be 0 or more and finite, but are "
                f"{self.learning_rate}, {self.matrix_learning_rate} and {self.weight_decay}."
            )
        if self.warmup_steps < 0 or not 0 <= self.final_fraction <= 1:
            raise ValueError(
                "`warmup_steps` must be 0 or more and `final_fraction` in [0, 1], but are "
                f"{self.warmup_steps} and {self.final_fraction}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How a run goes on.

    Attributes:
        steps: optimiser steps in all.
        batch_size: samples of a step, over all processes and micro-batches.
        accumulate: micro-batches of each process in a step.
        optimizer: of the model.
        other_optimizer: of further networks, such as a discriminator; None for the same.
        clip_norm: largest norm of a network's gradient; None for no limit.
        ema_decay: of the averaged weights, which are what is measured and shipped; it starts
            lower, at ``(1 + step) / (10 + step)``. None keeps no average.
        precision: "bfloat16" runs networks under autocast; weights stay float32.
        compile: call the networks' ``compile()``, by default ``torch.compile`` in place.
        parallel: what several processes hold: "ddp" all weights, gradients and optimiser states
            each, "fsdp" a part each (FSDP2), gathering weights block by block
            (:class:`~dcs_common.training.task.NamesBlocks`). No matter for the numbers beyond
            rounding, for checkpoints, or for one process.
        seed: decides everything that is drawn.
        checkpoint_every, log_every, validate_every, images_every: steps; 0 switches off, but a
            checkpoint is always written at the end.
        explosion_factor: stop when the model's loss exceeds the median of the last ones by so
            many times its magnitude (:class:`~dcs_common.training.divergence.LossHistory`); None
            to stop only when a loss is not finite.
    """

    steps: int
    batch_size: int
    accumulate: int = 1
    optimizer: OptimizerConfig
    other_optimizer: OptimizerConfig | None = None
    clip_norm: float | None = 1.0
    ema_decay: float | None = None
    precision: Precision = "bfloat16"
    compile: bool = False
    parallel: Parallel = "ddp"
    seed: int = 0
    checkpoint_every: int = 1000
    log_every: int = 50
    validate_every: int = 0
    images_every: int = 0
    explosion_factor: float | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(
                f"`precision` must be 'float32' or 'bfloat16', but is {self.precision!r}."
            )
        if self.parallel not in ("ddp", "fsdp"):
            raise ValueError(f"`parallel` must be 'ddp' or 'fsdp', but is {self.parallel!r}.")
        for name in ("steps", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {getattr(self, name)}.")
        for name in ("checkpoint_every", "log_every", "validate_every", "images_every"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"`{name}` must be 0 or more, but is {getattr(self, name)}. 0 switches it off."
                )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"`ema_decay` must be in [0, 1), but is {self.ema_decay}.")
        for name in ("clip_norm", "explosion_factor"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be positive or None, but is {value}.")

    def samples_per_share(self, world_size: int) -> int:
        """Return the size of a micro-batch.

        Raises:
            ValueError: if the batch cannot be divided among processes and micro-batches.
        """
        if self.batch_size % (world_size * self.accumulate):
            raise ValueError(
                f"`batch_size` must be a multiple of processes times `accumulate`, but is "
                f"{self.batch_size} for {world_size} processes and `accumulate` {self.accumulate}. "
                "Change one of them."
            )
        return self.batch_size // (world_size * self.accumulate)
