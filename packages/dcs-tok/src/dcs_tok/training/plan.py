"""What a recipe costs, before anything runs (``dcs-tok train RECIPE --plan``).

Tokens, FLOPs and memory follow from the recipe (:mod:`dcs_tok.training.step_cost`); time also from
the machine's own rate for matrix products.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from dcs_common.training.matmul_rate import time_needed
from dcs_tok.config import DCSTokConfig
from dcs_tok.data.geometry import BatchGeometry, draw_geometry, geometry_of_step
from dcs_tok.losses.lpips_network import import_lpips
from dcs_tok.patch_work import DEFAULT_MAX_MEMORY, share_of
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training.cost import StepCost
from dcs_tok.training.recipe import Recipe
from dcs_tok.training.step_cost import grid_shape, step_cost
from dcs_tok.training.task import Critic

_STEPS_LOOKED_AT = 64
_GIB = 2**30


def plan(
    recipe: Recipe,
    *,
    device: str = "cpu",
    world_size: int = 1,
    memory: float = 80e9,
    checkpoint_activations: bool = False,
) -> str:
    """Return tokens, parameters, FLOPs, memory and time as Markdown.

    Args:
        recipe: what is to be trained.
        device: what it is to be trained on. Time is left out where there is none here.
        world_size: devices.
        memory: bytes of a device, for the largest micro-batch that fits.
        checkpoint_activations: as of :class:`~dcs_tok.DCSTok`.

    Raises:
        ValueError: if the batch cannot be divided among devices and micro-batches.
    """
    training = recipe.training
    micro_batch = training.samples_per_share(world_size)
    perceptual = _perceptual_network(recipe)
    on_cpu = torch.device(device).type == "cpu"
    geometries = {"typical": typical_geometry(recipe), "largest": largest_geometry(recipe)}
    found = {
        geometry: step_cost(
            recipe,
            geometry,
            checkpoint_activations=checkpoint_activations,
            perceptual=perceptual,
            on_cpu=on_cpu,
            max_memory=DEFAULT_MAX_MEMORY if on_cpu else share_of(memory),
        )
        for geometry in set(geometries.values())
    }
    costs = {name: found[geometry] for name, geometry in geometries.items()}
    model, critic, fixed = networks(recipe, world_size, perceptual)
    step_flops = costs["typical"].at(1).flops * training.batch_size
    lines = [
        f"{recipe.name}: {training.steps} steps of {training.batch_size}, {training.precision}, "
        f"starts from {recipe.starts_from}; {world_size} x {training.accumulate} micro-batches of "
        f"{micro_batch}, activations {'recomputed' if checkpoint_activations else 'kept'}",
        "",
        *_table(recipe, geometries, costs, memory - fixed, memory),
        "",
        f"parameters: {model / 1e6:.1f} M, discriminator {critic / 1e6:.1f} M",
        f"weights, gradients, optimisers and averages: {fixed / _GIB:.2f} GiB on each device",
        _fit(recipe, costs["largest"], memory, fixed, world_size, checkpoint_activations),
        f"FLOPs: {step_flops:.3g} a step, {step_flops * training.steps:.3g} in all",
        time_needed(step_flops, training, device, world_size),
    ]
    if recipe.losses.perceptual and perceptual is None:
        lines.append(
            "The perceptual loss is not counted: install it with `pip install 'dcs-tok[train]'`."
        )
    return "\n".join(lines)


# ---------------------------------------------------------------- geometries


def typical_geometry(recipe: Recipe) -> BatchGeometry:
    """Return, of the run's first steps, the geometry whose work is nearest to their mean."""
    scales, seed = recipe.scales, recipe.training.seed
    seen = [geometry_of_step(scales, seed, step)[0] for step in range(_STEPS_LOOKED_AT)]
    work = [pixel_work(recipe, geometry) for geometry in seen]
    mean = sum(work) / len(work)
    return min(zip(seen, work, strict=True), key=lambda pair: abs(pair[1] - mean))[0]


def largest_geometry(recipe: Recipe) -> BatchGeometry:
    """Return the geometry of the most work that a recipe can draw."""
    scales = recipe.scales
    most = replace(scales, short_sides=(max(scales.short_sides),), fps=(max(scales.fps),))
    possible = [
        draw_geometry(
            replace(most, patches=(patches,), aspects=(aspect,)),
            torch.Generator(),
            "clip" if scales.clip_share else "picture",
        )
        for patches in most.drawable_patches()
        for aspect in scales.aspects
    ]
    return max(possible, key=lambda geometry: pixel_work(recipe, geometry))


def pixel_work(recipe: Recipe, geometry: BatchGeometry) -> float:
    """Return about what the pixels of a sample cost, in any unit.

    In a block of width w, attention among the P pixels of a patch costs P / 6w of what its
    products with weights cost. Canonical patches add pixels of their own, as many at any scale.
    """
    segments, rows, columns = grid_shape(recipe, geometry)
    patches = segments * rows * columns
    model, work = recipe.model, 0.0
    for size, frames in (
        (geometry.size, geometry.frames),
        (geometry.target_size, geometry.target_frames),
    ):
        pixels = size[0] * size[1] * frames
        work += pixels
        network, canonical = model.patchifier, model.canonical
        if model.pixel_tokens == "source" and network is not None:
            if network.pixel_attention == "full":
                work += pixels**2 / (patches * 6 * network.width)
        elif canonical is not None:
            work += patches * canonical.grid**2 * (1 if geometry.fps is None else canonical.frames)
    return work


# ---------------------------------------------------------------- memory


def networks(
    recipe: Recipe, world_size: int, perceptual: Callable[[], nn.Module] | None
) -> tuple[int, int, int]:
    """Return parameters of model and discriminator, and bytes held all the time."""
    training = recipe.training
    with torch.device("meta"):
        tok = DCSTok(recipe.model)
        critic = Critic(recipe) if recipe.losses.adversarial else nn.Identity()
        compared = nn.Identity() if perceptual is None else perceptual()
    frozen = tok.encoding_half() if recipe.freezes_encoder else set()
    is_muon = training.optimizer.matrix_learning_rate is not None
    muon = set(tok.hidden_matrices()) if is_muon else set()
    exchanged = int(world_size > 1)  # a second copy of gradients, for their exchange
    values = 0
    for name, parameter in tok.named_parameters():
        copies = 1 + (training.ema_decay is not None)
        if name not in frozen:
            copies += 1 + exchanged + (1 if name in muon else 2)  # gradient, moments
        values += copies * parameter.numel()
    values += _count(critic) * (4 + exchanged) + _count(compared)
    return _count(tok), _count(critic), 4 * values


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _fit(
    recipe: Recipe, cost: StepCost, memory: float, fixed: int, world_size: int, recomputes: bool
) -> str:
    """Say whether the largest micro-batch fits, and what to do if not."""
    training = recipe.training
    micro_batch = training.samples_per_share(world_size)
    needed = fixed + cost.bytes_at(micro_batch)
    said = (
        f"a micro-batch of {micro_batch} of the largest geometry: {needed / _GIB:.3g} GiB, "
        f"{'fits' if needed <= memory else 'does not fit'} in {memory / 1e9:g} GB"
    )
    if needed <= memory:
        return said
    fits = cost.largest(memory - fixed)
    share = training.batch_size // world_size
    parts = [n for n in range(1, share + 1) if share % n == 0 and share // n <= fits]
    ways = [f"`--accumulate {parts[0]}`"] if parts else []
    ways += [] if recomputes else ["`--checkpoint-activations`"]
    return f"{said}. Use {' or '.join(ways) or 'smaller scales or more memory'}."


def _perceptual_network(recipe: Recipe) -> Callable[[], nn.Module] | None:
    """Return what builds the perceptual loss's network without weights, if lpips is there."""
    if not recipe.losses.perceptual:
        return None
    try:
        lpips = import_lpips()
    except ValueError:
        return None
    trunk = recipe.losses.perceptual_trunk
    build = partial(lpips.LPIPS, net=trunk, pretrained=False, pnet_rand=True, verbose=False)

    def quietly() -> nn.Module:
        with warnings.catch_warnings():  # lpips names torchvision's arguments as they once were
            warnings.simplefilter("ignore", UserWarning)
            return build()

    return quietly


# ---------------------------------------------------------------- table


def _table(
    recipe: Recipe,
    geometries: dict[str, BatchGeometry],
    costs: dict[str, StepCost],
    free: float,
    memory: float,
) -> list[str]:
    """Return a row for each quantity, a column for each geometry."""
    columns = [_column(recipe, geometries[name], costs[name], free, memory) for name in geometries]
    names = " | ".join(f"{name} geometry" for name in geometries)
    lines = [f"| one sample | {names} |", "|---" * (1 + len(columns)) + "|"]
    for key in columns[0]:
        lines.append(f"| {key} | " + " | ".join(column[key] for column in columns) + " |")
    return lines


def _column(
    recipe: Recipe, geometry: BatchGeometry, cost: StepCost, free: float, memory: float
) -> dict[str, str]:
    is_clip, model = geometry.fps is not None, recipe.model
    sides = {
        "input": (geometry.size, geometry.frames),
        "target": (geometry.target_size, geometry.target_frames),
    }
    column = {}
    for name, (size, frames) in sides.items():
        column[name] = f"{size[1]}x{size[0]}" + (f", {frames} frames" if is_clip else "")
    tokens = [_pixel_tokens(model, cost.patches, *side, is_clip) for side in sides.values()]
    return {
        **column,
        "patches": f"{cost.patches}, k = {geometry.patches}",
        "pixel tokens, in and out": " and ".join(str(count) for count in tokens),
        "latent tokens, mean": f"{cost.latent_tokens:.0f} of {cost.patches * model.num_levels}",
        "FLOPs, forward and backward": f"{cost.at(1).flops:.3g}",
        "activations": f"{cost.bytes_at(1) / _GIB:.3g} GiB",
        f"largest micro-batch in {memory / 1e9:g} GB": str(cost.largest(free)),
    }


def _pixel_tokens(
    config: DCSTokConfig, patches: int, size: tuple[int, int], frames: int, is_clip: bool
) -> int:
    """Return the pixel tokens, or cells, of all patches of a sample."""
    canonical = config.canonical
    if config.pixel_tokens == "source" or canonical is None:
        return size[0] * size[1] * frames
    cells = patches * (canonical.grid // canonical.cell) ** 2
    # A cell of the networks holds all frames, a token of the transformer one.
    return cells * (canonical.frames if is_clip and config.patchifier is not None else 1)
