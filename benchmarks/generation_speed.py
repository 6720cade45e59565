"""What coarse to fine costs, what mixed level counts save, and how much of the machine XL takes."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from measure import matmul_rate, paired_ratio

from dcs_common.token_layout import TokenLayout
from dcs_dit import PRESETS, DCSDiT, DCSDiTConfig, sample, sample_progressive
from dcs_dit.reference import padded_velocity
from dcs_dit.sampling.memory import cache_bytes
from dcs_dit.sampling.request import make_request

GRID, LEVELS, BATCH = (1, 16, 16), 4, 4
LABELS = tuple(f"class {i}" for i in range(10))


def lively(config: DCSDiTConfig) -> DCSDiT:
    """Return a model that does not return zero."""
    torch.manual_seed(0)
    dit = DCSDiT(replace(config, labels=LABELS, grid=GRID, num_levels=LEVELS)).eval()
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    dit.fingerprint = "benchmark"  # what a loaded model has; else every run would compute one
    return dit


def run() -> list[str]:
    """Return Markdown tables."""
    return [*_sampling(), "", *_mixed_levels(), "", *_forward()]


# ---------------------------------------------------------------- sampling


def _sampling(steps: int = 4, rounds: int = 3) -> list[str]:
    """Compare sampling in pairs; ratios do not depend on the number of steps."""
    lines = [
        f"Sampling, {LEVELS} levels, {GRID[1]} x {GRID[2]} patches, batch {BATCH}, {steps} steps, "
        "against all levels at once:",
        "",
        "| model | precision | guidance | cache | time: ratio | first preview | largest difference "
        "| cache |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in ("dcs-dit-s", "dcs-dit-nano"):
        for precision, scale, cache in (
            (torch.float32, 1.0, "device"),
            (torch.bfloat16, 1.0, "device"),
            (torch.bfloat16, 4.0, "device"),
            (torch.bfloat16, 1.0, "recompute"),
        ):
            dit = lively(PRESETS[name]()).to(precision)
            lines.append(_sampling_row(dit, name, scale, cache, steps, rounds))
    return lines


def _sampling_row(dit: DCSDiT, name: str, scale: float, cache: str, steps: int, rounds: int) -> str:
    request = {
        "labels": list(range(BATCH)),
        "seeds": list(range(BATCH)),
        "steps": steps,
        "guidance_scale": scale,
        "guidance_interval": (0.0, 1.0),
    }
    previews: list[float] = []

    def joint() -> torch.Tensor:
        return sample(dit, **request).tokens

    def coarse_to_fine() -> torch.Tensor:
        start = time.perf_counter()
        for step in sample_progressive(dit, cache=cache, **request):
            if step.level == 1:
                previews.append(time.perf_counter() - start)
        previews[-1] /= time.perf_counter() - start
        return step.latents.tokens

    difference = float((joint() - coarse_to_fine()).abs().max())
    ratio, _, _ = paired_ratio(coarse_to_fine, joint, rounds)
    dtype = dit.norm.weight.dtype
    held = cache_bytes(dit.config, make_request(dit, **request), dtype.itemsize)
    held = 0 if cache == "recompute" else held
    return (
        f"| {name} | {str(dtype).removeprefix('torch.')} | {scale:g} | {cache} | {ratio:.3f} "
        f"| {sorted(previews)[len(previews) // 2]:.3f} of the whole | {difference:.1e} "
        f"| {held / 2**20:.0f} MiB |"
    )


# ---------------------------------------------------------------- training


def _mixed_levels(batch: int = 8, rounds: int = 3) -> list[str]:
    """Compare a training step on mixed level counts with the same one padded and masked."""
    lines = [
        f"A training step, {GRID[1]} x {GRID[2]} patches, batch {batch}, counts drawn from p_m, "
        "against the same step padded and masked:",
        "",
        "| model | precision | time: ratio | ours, s | padded, s |",
        "|---|---|---|---|---|",
    ]
    for name in ("dcs-dit-s", "dcs-dit-nano"):
        dit = lively(PRESETS[name]()).train()
        for precision in ("float32", "bfloat16"):
            draws = torch.Generator().manual_seed(0)
            step = partial(_step, dit, batch, draws, precision)
            ratio, ours, padded = paired_ratio(
                partial(step, dit), partial(step, partial(padded_velocity, dit)), rounds
            )
            lines.append(f"| {name} | {precision} | {ratio:.2f} | {ours:.2f} | {padded:.2f} |")
    return lines


def _step(
    dit: DCSDiT,
    batch: int,
    draws: torch.Generator,
    precision: str,
    velocity: Callable[..., torch.Tensor],
) -> None:
    shape = (batch, *GRID, LEVELS, dit.config.latent_channels)
    noised, target = torch.randn((2, *shape), generator=draws)
    levels = torch.tensor([1, 2, 2, 3, 3, 4, 4, 4])[:batch]  # near p_m, the same in every step
    dit.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        found = velocity(noised, torch.rand(batch), levels, torch.arange(batch))
    (found.float() - target).square().mean().backward()


# ---------------------------------------------------------------- XL


def _forward(rounds: int = 3) -> list[str]:
    """Measure a forward pass of XL against the matmul rate, and against full attention."""
    dit = lively(PRESETS["dcs-dit-xl"]()).to(torch.bfloat16)
    level_map = torch.full((1, *GRID), LEVELS)
    placement = dit.place(TokenLayout.of(level_map))
    # All tokens of one level: the same blocks with full attention.
    whole = TokenLayout.of(torch.ones(1, 1, GRID[1] * LEVELS, GRID[2], dtype=torch.int64))
    full = dit.place(whole)
    sequence = torch.randn(LEVELS * GRID[1] * GRID[2], dit.config.latent_channels)
    with torch.no_grad():
        conditions = dit.conditions(torch.rand(1), torch.zeros(1, dtype=torch.int64))
        causal = partial(dit.velocity, sequence, placement, conditions)
        ratio, ours, _ = paired_ratio(
            causal, partial(dit.velocity, sequence, full, conditions), rounds
        )
    tokens, width = len(sequence), dit.config.width
    products = sum(p.numel() for p in dit.blocks.parameters() if p.ndim == 2) - sum(
        p.numel() for block in dit.blocks for p in block.modulation.parameters()
    )
    seen = sum(range(1, LEVELS + 1)) * (GRID[1] * GRID[2]) ** 2
    flops = 2 * tokens * products + dit.config.blocks * 4 * seen * width
    rate = matmul_rate(torch.bfloat16)
    return [
        f"Forward pass of dcs-dit-xl, {GRID[1]} x {GRID[2]} patches, {LEVELS} levels, bfloat16:",
        "",
        "| of the rate of matrix products | against full attention: ratio | s |",
        "|---|---|---|",
        f"| {flops / ours / rate:.2f} | {ratio:.2f} | {ours:.2f} |",
    ]
