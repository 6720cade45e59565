"""What a recipe costs, before anything runs (``dcs-dit train RECIPE --plan``).

Blocks are alike and samples independent: a model of one block and of two, on one sample and on two,
say what any number of either costs. They run on fake tensors, in seconds for any size.
"""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from dcs_common.levels import level_probabilities
from dcs_common.training.cost import Cost, CostLine, fake_mode, measured_pass
from dcs_common.training.matmul_rate import time_needed
from dcs_dit.model import DCSDiT
from dcs_dit.training.recipe import Recipe

_GIB = 2**30


def plan(
    recipe: Recipe,
    *,
    device: str = "cpu",
    world_size: int = 1,
    memory: float = 80e9,
    checkpoint_activations: bool = False,
) -> str:
    """Return tokens, parameters, FLOPs, memory and time as text with a Markdown table.

    Args:
        recipe: what is to be trained.
        device: what it is to be trained on. Time is left out where there is none here.
        world_size: devices.
        memory: bytes of a device, for the largest micro-batch that fits.
        checkpoint_activations: as of :class:`~dcs_dit.DCSDiT`.

    Raises:
        ValueError: if the batch cannot be divided among devices and micro-batches.
    """
    training, config = recipe.training, recipe.model
    micro_batch = training.samples_per_share(world_size)
    t, h, w = config.grid
    n = recipe.levels or config.num_levels
    shares = level_probabilities(n, recipe.level_weights).tolist()
    costs = [step_cost(recipe, m, checkpoint_activations) for m in range(1, n + 1)]
    flops = sum(share * cost.at(1).flops for share, cost in zip(shares, costs, strict=True))
    tokens = t * h * w * sum(m * share for m, share in enumerate(shares, start=1))
    fixed = fixed_bytes(recipe, world_size)
    full = costs[-1]
    lines = [
        f"{recipe.name}: {training.steps} steps of {training.batch_size}, {training.precision}, "
        f"starts from {recipe.starts_from or 'nothing'}; {world_size} x {training.accumulate} "
        f"micro-batches of {micro_batch}, activations "
        f"{'recomputed' if checkpoint_activations else 'kept'}",
        "",
        "| one sample | |",
        "|---|---|",
        f"| patches | {t} x {h} x {w} |",
        f"| tokens, mean | {tokens:.0f} of {t * h * w * n} |",
        f"| FLOPs, forward and backward, mean | {flops:.3g} |",
        f"| activations at {n} levels | {bytes_at(full, 1) / _GIB:.3g} GiB |",
        f"| largest micro-batch in {memory / 1e9:g} GB | {largest(full, memory - fixed)} |",
        "",
        f"parameters: {num_parameters(recipe) / 1e6:.1f} M",
        f"weights, gradients, optimisers and averages: {fixed / _GIB:.2f} GiB on each device",
        _fit(recipe, full, memory, fixed, world_size, checkpoint_activations),
        f"FLOPs: {flops * training.batch_size:.3g} a step, "
        f"{flops * training.batch_size * training.steps:.3g} in all",
        time_needed(flops * training.batch_size, training, device, world_size),
    ]
    return "\n".join(lines)


# ---------------------------------------------------------------- activations


def step_cost(recipe: Recipe, levels: int, recompute: bool) -> CostLine:
    """Return the cost of a micro-batch over its samples, each with so many levels."""
    return CostLine.through([(b, _cost(recipe, levels, b, recompute)) for b in (1, 2)])


def _cost(recipe: Recipe, levels: int, samples: int, recompute: bool) -> Cost:
    one, two = (_shallow(recipe, levels, samples, blocks, recompute) for blocks in (1, 2))
    whole = one + (two - one) * (recipe.model.blocks - 1)
    return replace(whole, transient=two.transient)


def _shallow(recipe: Recipe, levels: int, samples: int, blocks: int, recompute: bool) -> Cost:
    config = recipe.model
    with fake_mode():
        dit = DCSDiT(replace(config, blocks=blocks)).train()
        shape = (samples, *config.grid, levels, config.latent_channels)
        noised, time = torch.zeros(shape), torch.zeros(samples)
        labels = torch.zeros(samples, dtype=torch.int64) if config.labels else None
        beside = config.condition_channels
        clean = torch.zeros(*shape[:-1], beside) if beside else None
    dit.checkpoint_activations = recompute

    def forward() -> Tensor:
        return dit(noised, time, torch.full((samples,), levels), labels, clean=clean)

    known = [noised, time] if clean is None else [noised, time, clean]
    return measured_pass(forward, dit, known, recipe.training.precision)


def bytes_at(cost: CostLine, samples: int) -> float:
    """Return the activations of a micro-batch at their peak."""
    found = cost.at(samples)
    return found.kept + found.transient


def largest(cost: CostLine, memory: float) -> int:
    """Return the largest micro-batch whose activations fit; 0 if none does."""
    one, two = bytes_at(cost, 1), bytes_at(cost, 2)
    return max(0, int((memory - one) // (two - one)) + 1) if memory >= one else 0


# ---------------------------------------------------------------- weights


@cache
def _meta(recipe: Recipe) -> DCSDiT:
    with torch.device("meta"):
        return DCSDiT(recipe.model)


def num_parameters(recipe: Recipe) -> int:
    """Return the model's parameters."""
    return sum(parameter.numel() for parameter in _meta(recipe).parameters())


def fixed_bytes(recipe: Recipe, world_size: int) -> int:
    """Return the bytes of weights, gradients, optimiser states and averages, all float32."""
    training, dit = recipe.training, _meta(recipe)
    is_muon = training.optimizer.matrix_learning_rate is not None
    muon = set(dit.hidden_matrices()) if is_muon else set()
    values = 0
    for name, parameter in dit.named_parameters():
        copies = 3 + (name not in muon)  # weight, gradient, moments
        copies += (training.ema_decay is not None) + (world_size > 1)  # and for their exchange
        values += copies * parameter.numel()
    return 4 * values


def _fit(
    recipe: Recipe,
    cost: CostLine,
    memory: float,
    fixed: int,
    world_size: int,
    recomputes: bool,
) -> str:
    """Say whether the micro-batch fits, and what to do if not."""
    training = recipe.training
    micro_batch = training.samples_per_share(world_size)
    needed = fixed + bytes_at(cost, micro_batch)
    fits = needed <= memory
    said = (
        f"a micro-batch of {micro_batch} at all levels: {needed / _GIB:.3g} GiB, "
        f"{'fits' if fits else 'does not fit'} in {memory / 1e9:g} GB"
    )
    if fits:
        return said
    most, share = largest(cost, memory - fixed), training.batch_size // world_size
    parts = [k for k in range(1, share + 1) if share % k == 0 and share // k <= most]
    ways = [f"`--accumulate {parts[0]}`"] if parts else []
    ways += [] if recomputes else ["`--checkpoint-activations`"]
    return f"{said}. Use {' or '.join(ways) or 'more devices or more memory'}."
