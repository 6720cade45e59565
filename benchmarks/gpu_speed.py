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
    tok.max_memory = 2**34
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
    calls = {
        "nano recipe, 128 px, batch 128": (step(nano(), 128, 128, 8, "cuda", recompute=False), 128),
        **{
            f"dcs-tok-b step, 256 px, batch {n}{', recomputed' if recompute else ''}": (
                step(recipe, n, 256, 16, "cuda", recompute=recompute),
                n,
            )
            for n, recompute in ((8, False), (32, True))
        },
        "dcs-tok-b encode + decode, 256 px, batch 16": (both_ways(16), 16),
    }
    lines = [
        f"| {torch.cuda.get_device_name()}, bfloat16 | pictures/s | GFLOP/s | matmul | share | GiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, (call, batch) in calls.items():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        seconds(call)
        row = rate_row(name, call, batch, "cuda")
        lines.append(f"{row} {torch.cuda.max_memory_allocated() / 2**30:.1f} |")
    return lines
