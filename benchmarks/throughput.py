"""dcs-tok-b, encode + decode at 256 px, as a share of the machine's own matmul rate."""

import torch
from measure import matmul_rate, seconds

from dcs_common.training.meter import Meter
from dcs_tok import DCSTok, dcs_tok_b


def run(rounds: int = 2) -> list[str]:
    """Return a Markdown table; the worse of two rounds."""
    torch.manual_seed(0)
    lines = [
        "| dcs-tok-b, 256 px, both ways | share of matmul | GFLOP/s | matmul | TFLOP | s |",
        "|---|---|---|---|---|---|",
    ]
    for dtype in (torch.float32, torch.bfloat16):
        tok = DCSTok(dcs_tok_b()).to(dtype).eval().requires_grad_(False)
        pixels = torch.rand(1, 3, 256, 256).to(dtype)

        def both(tok: DCSTok = tok, pixels: torch.Tensor = pixels) -> None:
            tok.decode(tok.encode(pixels))

        with Meter() as meter:
            both()
        flops = meter.flops
        shares, rates, matmuls = [], [], []
        for _ in range(rounds):
            matmuls.append(matmul_rate(dtype))
            rates.append(flops / seconds(both))
            shares.append(rates[-1] / matmuls[-1])
        best = max(rates)
        name = str(dtype).removeprefix("torch.")
        lines.append(
            f"| {name} | {min(shares):.0%} | {best / 1e9:.0f} "
            f"| {max(matmuls) / 1e9:.0f} | {flops / 1e12:.2f} | {flops / best:.1f} |"
        )
    return lines
