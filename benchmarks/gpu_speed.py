"""On a CUDA device: training steps and encode + decode, as shares of its bfloat16 matmul rate."""

from collections.abc import Callable
from dataclasses import replace

import torch
from measure import seconds
from training_speed import rate_row, step

from dcs_tok import DCSTok, dcs_tok_b
from dcs_tok.training import LossWeights
from dcs_tok.training.recipes import nano, stage_3


def both_ways(batch: int) -> Callable[[], None]:
    """Return encode + decode of dcs-tok-b at 256 px in bfloat16."""
    tok = DCSTok(dcs_tok_b()).to("cuda", torch.bfloat16).eval().requires_grad_(False)
    pixels = torch.rand(batch, 3, 256, 256, device="cuda", dtype=torch.bfloat16)

    def call() -> None:
        tok.decode(tok.encode(pixels))
        torch.cuda.synchronize()

    return call


def run() -> list[str]:
    """Return a Markdown table, or say that there is no device."""
    if not torch.cuda.is_available():
        return ["GPU: not run, there is no CUDA device here."]
    # The losses of networks that are not ours are left out.
    recipe = replace(stage_3(), losses=LossWeights(margin_weight=0.001, denoise_std=3.0))
    rows: dict[str, tuple[Callable[[], Callable[[], None]], int]] = {
        "nano recipe, 128 px, batch 128": (
            lambda: step(nano(), 128, 128, 8, "cuda", recompute=False),
            128,
        ),
        "dcs-tok-b step, 256 px, batch 8": (
            lambda: step(recipe, 8, 256, 16, "cuda", recompute=False),
            8,
        ),
        "dcs-tok-b step, 256 px, batch 32, recomputed": (
            lambda: step(recipe, 32, 256, 16, "cuda", recompute=True),
            32,
        ),
        "dcs-tok-b step, 256 px, batch 8, compiled": (
            lambda: step(recipe, 8, 256, 16, "cuda", recompute=False, compiled=True),
            8,
        ),
        "dcs-tok-b encode + decode, 256 px, batch 16": (lambda: both_ways(16), 16),
    }
    lines = [
        f"| {torch.cuda.get_device_name()}, bfloat16 | pictures/s | GFLOP/s | matmul | share "
        "| GiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, (make, batch) in rows.items():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        call = make()
        seconds(call)
        row = rate_row(name, call, batch, "cuda")
        lines.append(f"{row} {torch.cuda.max_memory_allocated() / 2**30:.1f} |")
    return lines
