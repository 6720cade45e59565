"""One training-shaped step of dcs-tok-b: forward, L2, backward at 256 px, batch 1.

Ours draws stratified levels and drops what they leave out; the reference draws independent levels
and masks them. Run as a script with ``ours`` or ``reference``, it prints the seconds of one step
and the peak memory of the process.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from measure import in_fresh_process, paired_ratio, peak_bytes, seconds

from dcs_common import sample_level_map, source_grid
from dcs_tok import DCSTok, dcs_tok_b
from dcs_tok import reference as plain


def steps(tok: DCSTok) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return one step of ours and one of the reference; each draws its levels anew."""
    pixels = torch.rand(1, 3, 256, 256)
    grid = source_grid((256, 256), 1, None, patches=16, segments_per_second=6)
    draws = torch.Generator().manual_seed(0)

    def ours() -> None:
        tok.zero_grad()
        levels = sample_level_map((1, 1, 16, 16), 8, generator=draws)
        rebuilt, _ = tok(pixels, levels=levels)
        (rebuilt - pixels).square().mean().backward()

    def reference() -> None:
        tok.zero_grad()
        levels = sample_level_map((1, 1, 16, 16), 8, draw="independent", generator=draws)
        tokens = plain.encode(tok, pixels.unsqueeze(2), grid, levels)
        rebuilt = plain.decode(tok, tokens, grid, levels).squeeze(2)
        (rebuilt - pixels).square().mean().backward()

    return ours, reference


def run() -> list[str]:
    """Return a Markdown table."""
    torch.manual_seed(0)
    memory = {}
    for which in ("ours", "reference"):
        _, peak = in_fresh_process(Path(__file__), which)
        memory[which] = peak / 2**30
    ratio, fast, slow = paired_ratio(*steps(DCSTok(dcs_tok_b())), rounds=3)
    return [
        "| training step of dcs-tok-b, 256 px | ratio | ours | reference |",
        "|---|---|---|---|",
        f"| time, s | {ratio:.2f} | {fast:.1f} | {slow:.1f} |",
        f"| peak memory of the process, GiB | {memory['ours'] / memory['reference']:.2f} "
        f"| {memory['ours']:.2f} | {memory['reference']:.2f} |",
    ]


if __name__ == "__main__":
    torch.manual_seed(0)
    step = dict(zip(("ours", "reference"), steps(DCSTok(dcs_tok_b())), strict=True))[sys.argv[1]]
    step()
    print(median([seconds(step)]), peak_bytes())
