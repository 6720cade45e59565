"""What a recipe costs, before anything runs (``dcs-tok train RECIPE --plan``).

FLOPs and saved activations are measured on real forward and backward passes of one sample over two
small grids of patches, of the recipe's own pixels per patch, and extrapolated: patch networks,
convolutions and activations grow with the number of patches N (activations beside a constant part,
weights in another precision), attention across patches with N^2: two grids give the coefficients.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from dcs_common import level_probabilities, sample_level_map, source_grid
from dcs_tok.data.geometry import BatchGeometry, draw_geometry
from dcs_tok.discriminator import PatchDiscriminator
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training.recipe import Recipe

SMALL_GRIDS = (3, 5)
"""Patches along the short side of the two grids that are measured."""
EFFICIENCY = 0.4
"""Share of the matmul rate that a training step is taken to reach."""
_BACKWARD = 3  # forward once, backward twice
_DRAWS = 64  # geometries looked at, to find the mean and the largest
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one sample's forward and backward pass.

    Attributes:
        flops: of matrix products, convolutions and attention.
        saved_bytes: activations kept for the backward pass.
    """

    flops: float
    saved_bytes: float


class _SavedBytes:
    """Counts the bytes of tensors kept for the backward pass, each storage once."""

    def __init__(self, parameters: set[int]) -> None:
        self._seen = parameters
        self.total = 0

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor


def measure(run: Any, network: nn.Module, precision: str) -> Cost:
    """Measure a call that returns a loss; FLOPs are of forward and backward together."""
    known = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    saved, counter = _SavedBytes(known), FlopCounterMode(display=False)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    with counter, saved_tensors_hooks(saved.pack, lambda tensor: tensor), autocast:
        run()
    return Cost(_BACKWARD * counter.get_total_flops(), saved.total)


def patches_of(geometry: BatchGeometry, patches: int, segments_per_second: int) -> int:
    """Return the number of patches of a sample's grid with ``patches`` along its short side."""
    grid = source_grid(
        geometry.size,
        geometry.frames,
        geometry.fps,
        patches=patches,
        segments_per_second=segments_per_second,
    )
    segments, rows, columns = grid.shape
    return segments * rows * columns


def tokenizer_cost(tok: DCSTok, recipe: Recipe, geometry: BatchGeometry) -> Cost:
    """Extrapolate the cost of one sample of a geometry from two small grids."""
    counts, costs = [], []
    for small in SMALL_GRIDS:
        shrunk = [max(small, round(small * side / geometry.patches)) for side in geometry.size]
        target = [
            max(small, round(small * side / geometry.patches)) for side in geometry.target_size
        ]
        frames = () if geometry.fps is None else (geometry.frames,)
        pixels = torch.rand(1, 3, *frames, *shrunk)
        grid = source_grid(
            (shrunk[0], shrunk[1]),
            geometry.frames,
            geometry.fps,
            patches=small,
            segments_per_second=tok.config.segments_per_second,
        )
        levels = _level_map((1, *grid.shape), recipe)

        def run(
            pixels: Tensor = pixels,
            levels: Tensor = levels,
            small: int = small,
            size: tuple[int, int] = (target[0], target[1]),
        ) -> Tensor:
            rebuilt, _ = tok(
                pixels, geometry.fps, levels, small, size=size, target_fps=geometry.target_fps
            )
            return rebuilt.float().square().mean()

        costs.append(measure(run, tok, recipe.training.precision))
        counts.append(levels.numel())
    full = patches_of(geometry, geometry.patches, tok.config.segments_per_second)
    flops = _quadratic(counts, [cost.flops for cost in costs], full)
    slope = (costs[1].saved_bytes - costs[0].saved_bytes) / (counts[1] - counts[0])
    return Cost(flops, costs[0].saved_bytes + slope * (full - counts[0]))


def _level_map(shape: tuple[int, int, int, int], recipe: Recipe) -> Tensor:
    """Return a level map that is typical of a recipe's draw."""
    n, levels = recipe.model.num_levels, recipe.levels
    if levels.draw == "sample":
        return torch.full(shape, round(_mean_levels(recipe)))
    generator = torch.Generator().manual_seed(0)
    return sample_level_map(
        shape, n, draw="stratified", weights=levels.weights, generator=generator
    )


def _mean_levels(recipe: Recipe) -> float:
    counts = torch.arange(1, recipe.model.num_levels + 1, dtype=torch.float64)
    return float(level_probabilities(len(counts), recipe.levels.weights) @ counts)


def _quadratic(counts: list[int], values: list[float], at: int) -> float:
    """Evaluate a N + b N^2 through two points; b is not negative."""
    (n, m), (x, y) = counts, values
    b = max(0.0, (y / m - x / n) / (m - n))
    a = y / m - b * m
    return a * at + b * at * at


def discriminator_cost(recipe: Recipe, geometry: BatchGeometry) -> tuple[int, Cost]:
    """Return parameters and cost of judging one sample three times (once to fool, real, fake)."""
    network = PatchDiscriminator(recipe.losses.discriminator)
    side = 64
    pixels = torch.rand(1, 3, side, side, requires_grad=True)
    cost = measure(lambda: network(pixels).mean(), network, recipe.training.precision)
    height, width = geometry.target_size
    share = height * width * geometry.target_frames / side**2
    count = sum(parameter.numel() for parameter in network.parameters())
    return count, Cost(3 * cost.flops * share, 3 * cost.saved_bytes * share)


def matmul_rate(precision: str, size: int = 2048) -> float:
    """Return the machine's rate for a square product, in FLOP per second."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left = torch.rand(size, size).to(dtype)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        left @ left
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds))


def plan(recipe: Recipe, *, memory: float = 80e9, world_size: int = 1) -> str:
    """Return a table of tokens, parameters, FLOPs, memory and time, as Markdown.

    Args:
        recipe: what is to be trained.
        memory: bytes of a device, for the largest micro-batch that fits.
        world_size: devices.
    """
    tok, training = DCSTok(recipe.model), recipe.training
    draws = torch.Generator().manual_seed(training.seed)
    kinds = ["clip" if recipe.scales.clip_share else "picture", "picture"]
    found = [
        draw_geometry(recipe.scales, draws, "picture" if i % 2 else kinds[0])  # type: ignore[arg-type]
        for i in range(_DRAWS)
    ]
    k_t = recipe.model.segments_per_second
    largest = max(
        found, key=lambda g: (g.frames * g.size[0] * g.size[1], patches_of(g, g.patches, k_t))
    )
    middle = sorted(found, key=lambda g: g.frames * g.size[0] * g.size[1])[len(found) // 2]
    parameters = sum(parameter.numel() for parameter in tok.parameters())
    critic = 0
    states = 5 if training.ema_decay is not None else 4  # weight, gradient, two moments, average
    lines = [
        f"{recipe.name}: {training.steps} steps of {training.batch_size}, {training.precision}, "
        f"starts from {recipe.starts_from}",
        "",
        "| one sample | median geometry | largest geometry |",
        "|---|---|---|",
    ]
    columns: list[dict[str, str]] = []
    costs: list[Cost] = []
    for geometry in (middle, largest):
        cost = tokenizer_cost(tok, recipe, geometry)
        if recipe.losses.adversarial:
            critic, judged = discriminator_cost(recipe, geometry)
            cost = Cost(cost.flops + judged.flops, cost.saved_bytes + judged.saved_bytes)
        costs.append(cost)
        columns.append(_column(recipe, geometry, cost, k_t))
    lines += [f"| {key} | {columns[0][key]} | {columns[1][key]} |" for key in columns[0]]
    fixed = 4 * states * parameters + 16 * critic
    fits = int((memory - fixed) // costs[1].saved_bytes)
    rate = matmul_rate(training.precision)
    seconds = costs[0].flops * training.batch_size / (rate * EFFICIENCY) / world_size
    lines += [
        "",
        f"parameters: {parameters / 1e6:.1f} M, discriminator {critic / 1e6:.1f} M",
        f"weights, gradients, optimiser and average: {fixed / _GIB:.2f} GiB on each device",
        f"largest micro-batch in {memory / 1e9:.0f} GB: {max(0, fits)} of the largest geometry",
        f"FLOPs: {costs[0].flops * training.batch_size:.3g} a step, "
        f"{costs[0].flops * training.batch_size * training.steps:.3g} in all",
        f"time on this machine's CPU, at {EFFICIENCY:.0%} of its matmul rate of "
        f"{rate / 1e9:.0f} GFLOP/s: {seconds:.3g} s a step, "
        f"{seconds * training.steps / 3600:.3g} h",
        "The perceptual network is not counted.",
    ]
    return "\n".join(lines)


def _column(recipe: Recipe, geometry: BatchGeometry, cost: Cost, k_t: int) -> dict[str, str]:
    patches = patches_of(geometry, geometry.patches, k_t)
    n = recipe.model.num_levels
    mean = _mean_levels(recipe)
    height, width = geometry.size
    frames = "" if geometry.fps is None else f", {geometry.frames} frames"
    return {
        "size": f"{width}x{height}{frames}, k = {geometry.patches}",
        "pixels": f"{height * width * geometry.frames}",
        "latent tokens, mean": f"{patches * mean:.0f} of {patches * n}",
        "FLOPs, forward and backward": f"{cost.flops:.3g}",
        "activations": f"{cost.saved_bytes / _GIB:.3f} GiB",
    }
