"""The shipped nano model on large pictures: time and peak memory of whole processes.

Run as a script with a task's name, it prints the task's seconds and the peak memory.
"""

import sys
import tempfile
from pathlib import Path

import torch
from measure import in_fresh_process, peak_bytes, seconds

from dcs_common import Latents, resize
from dcs_tok import DCSTok

TASKS = {
    "encode-12mp": "encode 4000x3000",
    "decode-4096": "decode to 4096x4096",
    "encode-768": "encode 768x512",
    "decode-768": "decode to 768x512",
}


def picture(height: int, width: int) -> torch.Tensor:
    """Return a smooth random picture (1, 3, height, width)."""
    small = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return resize(small, (height, width)).clamp_(0, 1)


def task(name: str) -> tuple[float, int]:
    """Run a task once warm; return its seconds and the process's peak memory."""
    tok = DCSTok.from_pretrained()
    tok.decode(tok.encode(picture(64, 64)))
    if name.startswith("encode"):
        pixels = picture(3000, 4000) if name.endswith("12mp") else picture(512, 768)
        return seconds(lambda: tok.encode(pixels)), peak_bytes()
    size = (4096, 4096) if name.endswith("4096") else (512, 768)
    latents = tok.encode(picture(*(edge // 4 for edge in size)))
    with tempfile.TemporaryDirectory() as folder:
        latents.save(Path(folder) / "x.safetensors")
        latents = Latents.load(Path(folder) / "x.safetensors")
    return seconds(lambda: tok.decode(latents, size)), peak_bytes()


def run() -> list[str]:
    """Return a Markdown table."""
    lines = ["| dcs-tok-nano, k = 16, 8 levels | s | peak memory, GiB |", "|---|---|---|"]
    for name, label in TASKS.items():
        spent, peak = in_fresh_process(Path(__file__), name)
        lines.append(f"| {label} | {spent:.2f} | {peak / 2**30:.2f} |")
    return lines


if __name__ == "__main__":
    print(*task(sys.argv[1]))
