"""Training: the nano recipe's rate, the paper's tokenizer against the plain step, planned memory.

Run as a script with ``kept`` or ``recomputed``, it prints the bytes that one step of the mid-size
model adds to the process, measured and planned.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from measure import in_fresh_process, matmul_rate, paired_ratio, peak_bytes, seconds
from training_step import PRECISIONS, steps

from dcs_common.training import Share
from dcs_common.training.matmul_rate import matmul_rate as device_matmul_rate
from dcs_common.training.meter import Meter
from dcs_tok import DCSTok, DCSTokConfig, dcs_tok_b
from dcs_tok.data import ScaleConfig, TrainingBatch
from dcs_tok.training import LossWeights, Recipe, TokenizerTask
from dcs_tok.training.plan import largest_geometry
from dcs_tok.training.recipes import nano, stage_3
from dcs_tok.training.step_cost import step_cost

SIDE, SAMPLES = 128, 2
# glibc gives back what is freed, so that the peak is that of tensors, not of holes between them.
RETURN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": str(2**17)}


def mid_size() -> DCSTokConfig:
    """The paper's kind at a size whose step takes a second."""
    config = dcs_tok_b()
    network = replace(config.patchifier, width=128, heads=4)
    trunk = replace(config.encoder, width=384, heads=6, blocks=4)
    return replace(config, patchifier=network, depatchifier=network, encoder=trunk, decoder=trunk)


def step(
    recipe: Recipe,
    batch: int,
    side: int,
    patches: int,
    device: str = "cpu",
    *,
    recompute: bool,
    compiled: bool = False,
) -> Callable[[], None]:
    """Return the losses' forward and backward pass on pictures, as the training loop has it."""
    torch.manual_seed(0)
    tok = DCSTok(recipe.model).to(device).train()
    tok.checkpoint_activations = recompute
    if compiled:
        tok.compile()
    task = TokenizerTask(tok, recipe)
    pixels = torch.rand(batch, 3, side, side, device=device)
    samples = TrainingBatch(
        pixels=pixels,
        target=pixels,
        fps=None,
        target_fps=None,
        patches=patches,
        names=("",) * batch,
    )
    is_bfloat16 = recipe.training.precision == "bfloat16"

    def call() -> None:
        for network in task.networks.values():
            network.zero_grad()
        losses = task.losses(samples, Share(0, 0, batch, batch), task.networks)
        while True:
            with torch.autocast(device, torch.bfloat16, enabled=is_bfloat16):
                found = next(losses, None)
            if found is None:
                break
            found[1].backward()
        if device != "cpu":
            torch.cuda.synchronize()

    return call


def rate_row(name: str, call: Callable[[], None], batch: int, device: str = "cpu") -> str:
    """Return pictures per second and the share of the bfloat16 matmul rate in the same run."""
    # What is compiled runs as it was written here, as the meter sees no operations otherwise.
    with torch.compiler.set_stance("force_eager"), Meter() as meter:
        call()
    if device == "cpu":
        matmul = matmul_rate(torch.bfloat16)
    else:
        matmul = device_matmul_rate("bfloat16", device)
    fastest = min(seconds(call) for _ in range(5))
    rate = meter.flops / fastest
    return (
        f"| {name} | {batch / fastest:.1f} | {rate / 1e9:.0f} | {matmul / 1e9:.0f} "
        f"| {rate / matmul:.0%} |"
    )


def planned(recompute: bool) -> tuple[float, float]:
    """Take a step of the mid-size model; return the bytes it adds, and those planned."""
    recipe = _mid_size_recipe()
    call = step(recipe, SAMPLES, SIDE, 16, recompute=recompute)
    before = peak_bytes()
    call()
    measured = peak_bytes() - before
    cost = step_cost(recipe, largest_geometry(recipe), checkpoint_activations=recompute)
    # The step makes the gradients; the pixels were there before it.
    tok = DCSTok(recipe.model)
    gradients = 4 * sum(parameter.numel() for parameter in tok.parameters())
    return measured, cost.bytes_at(SAMPLES) - SAMPLES * cost.batch_bytes + gradients


def _mid_size_recipe() -> Recipe:
    recipe = stage_3()
    return replace(
        recipe,
        model=mid_size(),
        scales=ScaleConfig(short_sides=(SIDE,)),
        losses=LossWeights(margin_weight=0.001, denoise_std=3.0),
        training=replace(recipe.training, precision="float32"),
    )


def run() -> list[str]:
    """Return Markdown tables."""
    batch = 16
    lines = [
        "| step, forward and backward | pictures/s | GFLOP/s | matmul, bfloat16 | share |",
        "|---|---|---|---|---|",
        rate_row(
            f"nano recipe, 128 px, batch {batch}, bfloat16",
            step(nano(), batch, 128, 8, recompute=False),
            batch,
        ),
    ]
    tok, speeds = DCSTok(mid_size()), []
    for precision in PRECISIONS:
        ratio, fast, slow = paired_ratio(*steps(tok, SIDE, precision), rounds=3)
        speeds.append(f"| {precision} | {ratio:.2f} | {fast:.2f} | {slow:.2f} |")
    lines += [
        "",
        f"| mid-size tokenizer of the paper's kind, {SIDE} px | ratio | ours, s | reference, s |",
        "|---|---|---|---|",
        *speeds,
        "",
        "| memory that a step adds, the same model | planned / measured | GiB |",
        "|---|---|---|",
    ]
    for kind in ("kept", "recomputed"):
        measured, expected = in_fresh_process(Path(__file__), kind, **RETURN_MEMORY)
        lines.append(f"| activations {kind} | {expected / measured:.2f} | {measured / 2**30:.2f} |")
    return lines


if __name__ == "__main__":
    print(*planned(sys.argv[1] == "recomputed"))
