"""One training-shaped step of dcs-tok-b: forward, L2, backward at 256 px, batch 1.

Ours draws stratified levels and drops what they leave out; the reference draws independent levels
and masks them. Both in float32 and under autocast to bfloat16, as the recipes have it. Run as a
script with ``ours`` or ``reference`` and the precision, it prints the seconds of one step and the
peak memory of the process.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import in_fresh_process, peak_bytes, seconds

from dcs_common import sample_level_map, source_grid
from dcs_tok import DCSTok, dcs_tok_b
from dcs_tok import reference as plain

PRECISIONS = ("float32", "bfloat16")


def steps(
    tok: DCSTok, side: int = 256, precision: str = "float32"
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return one step of ours and one of the reference; each draws its levels anew."""
    autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=precision == "bfloat16")
    pixels = torch.rand(1, 3, side, side)
    grid = source_grid((side, side), 1, None, patches=16, segments_per_second=6)
    draws = torch.Generator().manual_seed(0)

    def ours() -> None:
        tok.zero_grad()
        levels = sample_level_map((1, 1, 16, 16), 8, generator=draws)
        with autocast():
            rebuilt, _ = tok(pixels, levels=levels)
        (rebuilt.float() - pixels).square().mean().backward()

    def reference() -> None:
        tok.zero_grad()
        levels = sample_level_map((1, 1, 16, 16), 8, draw="independent", generator=draws)
        with autocast():
            tokens = plain.encode(tok, pixels.unsqueeze(2), grid, levels)
            rebuilt = plain.decode(tok, tokens, grid, levels).squeeze(2)
        (rebuilt.float() - pixels).square().mean().backward()

    return ours, reference


def run() -> list[str]:
    """Return a Markdown table; each side runs in a process of its own."""
    lines = [
        "| training step of dcs-tok-b, 256 px | time: ratio | ours, s | reference, s "
        "| peak memory: ratio | ours, GiB | reference, GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for precision in PRECISIONS:
        fast, small = in_fresh_process(Path(__file__), "ours", precision)
        slow, large = in_fresh_process(Path(__file__), "reference", precision)
        lines.append(
            f"| {precision} | {fast / slow:.2f} | {fast:.1f} | {slow:.1f} "
            f"| {small / large:.2f} | {small / 2**30:.2f} | {large / 2**30:.2f} |"
        )
    return lines


if __name__ == "__main__":
    torch.manual_seed(0)
    side, precision = sys.argv[1:]
    both = steps(DCSTok(dcs_tok_b()), precision=precision)
    step = dict(zip(("ours", "reference"), both, strict=True))[side]
    step()
    print(min(seconds(step) for _ in range(3)), peak_bytes())
