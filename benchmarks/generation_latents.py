"""Latents for a generator: how the tokenizers that ship rebuild small pictures, and through noise.

    python benchmarks/generation_latents.py --data FOLDER

FOLDER holds ``imagenette128/val-00.zip``, ``photos/photos-0?.zip`` (00 to 02 for the transform) and
``weights/`` (SqueezeNet and the heads of LPIPS). For the Karhunen-Loeve transform and each model:
deviation of the latents by level, PSNR and LPIPS by level count, and both once more where every
latent is off by a tenth and by a third of its level's deviation, as a generator's are.
"""

import argparse
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from quality import transform

from dcs_common import Latents, psnr
from dcs_tok import DCSTok
from dcs_tok.data.sources import decode_picture
from dcs_tok.losses.perceptual import PerceptualLoss

LEVELS = (1, 2, 3, 4, 6, 8)
SIDE, PATCHES, EVERY = 128, 8, 20
NOISE = (0.0, 0.1, 0.3)


def pictures(path: Path) -> Iterator[torch.Tensor]:
    """Yield every so-manyth picture's middle, (1, 3, 128, 128) in [0, 1]."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        for name in names[::EVERY]:
            pixels = decode_picture(archive.read(name), name).float() / 255
            top, left = ((side - SIDE) // 2 for side in pixels.shape[1:])
            yield pixels[None, :, top : top + SIDE, left : left + SIDE]


def table(name: str, tok: DCSTok, loss: PerceptualLoss, data: list[torch.Tensor]) -> Iterator[str]:
    """Yield a model's rows; it may have fewer levels than the table."""
    counts = [m for m in LEVELS if m <= tok.config.num_levels]
    codes = [tok.encode(pixels, patches=PATCHES) for pixels in data]
    std = torch.cat([code.tokens for code in codes]).std(dim=(0, 1, 2, 3))  # (n, d)
    by_level = std.square().mean(dim=1).sqrt()
    yield row(f"{name}, deviation", [f"{by_level[m - 1]:.2f}" for m in counts])
    generator = torch.Generator().manual_seed(0)
    for share in NOISE:
        decibels: list[list[float]] = [[] for _ in counts]
        distances: list[list[float]] = [[] for _ in counts]
        for pixels, code in zip(data, codes, strict=True):
            noise = torch.randn(code.tokens.shape, generator=generator) * std * share
            noisy: Latents = replace(code, tokens=code.tokens + noise)
            for i, m in enumerate(counts):
                rebuilt = tok.decode(noisy, levels=m)
                decibels[i].append(psnr(rebuilt, pixels))
                with torch.no_grad():
                    distances[i].append(float(loss(rebuilt, pixels)))
        off = f", off by {share}" if share else ""
        yield row(f"{name}{off}, dB", [f"{fmean(values):.2f}" for values in decibels])
        yield row(f"{name}{off}, LPIPS", [f"{fmean(values):.3f}" for values in distances])


def row(name: str, values: list[str]) -> str:
    """Return a Markdown row; levels that a model has not stay empty."""
    return f"| {name} | " + " | ".join(values + [""] * (len(LEVELS) - len(values))) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["dcs-tok-nano", "dcs-tok-nano-gen"])
    args = parser.parse_args()
    loss = PerceptualLoss(
        "squeeze",
        trunk_weights=args.data / "weights" / "squeezenet1_1_features.pth",
        heads=args.data / "weights" / "lpips_squeeze_lin_v0.1.pth",
    )
    data = list(pictures(args.data / "imagenette128" / "val-00.zip"))
    print(row(f"{len(data)} pictures, {SIDE} px, k = {PATCHES}, by levels", list(map(str, LEVELS))))
    print("|---|" + "---|" * len(LEVELS))
    nano = DCSTok.from_pretrained()
    photos = [args.data / "photos" / f"photos-0{i}.zip" for i in range(3)]
    models = {"transform": transform(nano, photos)}
    models |= {name: DCSTok.from_pretrained(name) for name in args.models}
    for name, tok in models.items():
        for line in table(name, tok, loss, data):
            print(line, flush=True)


if __name__ == "__main__":
    main()
