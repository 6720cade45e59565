"""What `.dcs` files cost: against the ideal code, static tables and level maps, and in time.

    python benchmarks/compression.py --data FOLDER [--model MODEL]

FOLDER holds ``eval/kodak/*.png``. Bits are those of whole files; everything but the last table is a
ratio of two things measured in one run.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from math import log10
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from measure import in_fresh_process, peak_bytes
from PIL import Image

from dcs_common import Latents
from dcs_tok import DCSTok
from dcs_tok.compression.codec import KAPPA, Codec, codec_of
from dcs_tok.compression.rate_control import side_of_quality
from dcs_tok.compression.symbol_coder import Ints, SymbolEncoder, Tables
from dcs_tok.pictures import read_picture

QUALITIES = (28, 32, 36, 42, 48, 56)
MEGAPIXELS = (4000, 3000)


class Metered(SymbolEncoder):
    """An encoder that adds up the ideal bits of what it codes, and its own time."""

    bits = 0.0
    seconds = 0.0

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.tables = tables

    def code(self, mean: Ints, scale: Ints, symbols: Ints) -> Ints:
        Metered.bits += float(self.tables.bits(mean, scale, symbols).sum())
        start = time.perf_counter()
        coded = super().code(mean, scale, symbols)
        Metered.seconds += time.perf_counter() - start
        return coded


def psnr(tok: DCSTok, latents: Latents, pixels: torch.Tensor) -> float:
    """Return dB."""
    return -10 * log10(float((tok.decode(latents) - pixels).square().mean()))


def static_bits(symbols: Iterable[np.ndarray]) -> float:
    """Return the bits of symbols (patches, n, d) under tables of their own level and channel.

    The tables are the pictures' own frequencies, which a file could not know: static coding at its
    best.
    """
    rows = np.concatenate(list(symbols))
    total = 0.0
    for level in range(rows.shape[1]):
        for channel in range(rows.shape[2]):
            count = np.unique(rows[:, level, channel], return_counts=True)[1]
            total -= float((count * np.log2(count / count.sum())).sum())
    return total


def bits_table(codec: Codec, pictures: list[torch.Tensor]) -> list[str]:
    """Files against the ideal code and static tables, symbols being the same."""
    import dcs_tok.compression.level_coding as level_coding

    lines = [
        "| quality | bits per pixel | dB | file / ideal code | file / static tables |",
        "|---|---|---|---|---|",
    ]
    pixels_in_all = sum(pixels[:, 0].numel() for pixels in pictures)
    for quality in QUALITIES:
        Metered.bits, size, decibels, symbols = 0.0, 0, [], []
        level_coding.SymbolEncoder = Metered  # type: ignore[misc]
        try:
            for pixels in pictures:
                latents = codec.tok.encode(pixels, patches=_patches(pixels, quality))
                coded = codec.code(latents, quality)
                size += 8 * len(coded.data)
                decibels.append(psnr(codec.tok, coded.latents, pixels))
                steps = codec.model.steps(latents, codec.tok.config.segments_per_second, quality)
                symbols.append((coded.latents.tokens / steps).round().flatten(0, 3).int().numpy())
        finally:
            level_coding.SymbolEncoder = SymbolEncoder  # type: ignore[misc]
        lines.append(
            f"| {quality} | {size / pixels_in_all:.3f} | {fmean(decibels):.2f} "
            f"| {size / Metered.bits:.3f} | {size / static_bits(symbols):.3f} |"
        )
    return lines


def maps_table(codec: Codec, pictures: list[torch.Tensor]) -> list[str]:
    """Level maps that end each patch at its last level beside zero, against files without."""
    lines = [
        "| quality | bytes with map / without | dB more with map | decoding time, ratio |",
        "|---|---|---|---|",
    ]
    for quality in (28, 36, 48):
        sizes, gains, times = [], [], []
        for pixels in pictures[::3]:
            latents = codec.tok.encode(pixels, patches=_patches(pixels, quality))
            plain = codec.code(latents, quality)
            tokens = plain.latents.tokens
            level = torch.arange(1, tokens.shape[4] + 1)
            last = ((tokens != 0).any(dim=-1) * level).amax(dim=-1).clamp(min=1)
            most = int(last.max())
            kept = latents.tokens[..., :most, :] * (level[:most] <= last[..., None])[..., None]
            mapped = codec.code(replace(latents, tokens=kept, levels=last), quality)
            sizes.append(len(mapped.data) / len(plain.data))
            start = time.perf_counter()
            before = psnr(codec.tok, plain.latents, pixels)
            middle = time.perf_counter()
            gains.append(psnr(codec.tok, mapped.latents, pixels) - before)
            times.append((time.perf_counter() - middle) / (middle - start))
        lines.append(
            f"| {quality} | {fmean(sizes):.3f} | {fmean(gains):+.2f} | {fmean(times):.1f} |"
        )
    return lines


def time_table(codec: Codec, pixels: torch.Tensor) -> list[str]:
    """Parts of `compress` on one photo, medians of nine after a warm-up."""
    import dcs_tok.compression.level_coding as level_coding

    lines = [
        "| quality | compress, s | encoding | context and choice of symbols | range coder |",
        "|---|---|---|---|---|",
    ]
    for quality in (32, 48):
        rows = []
        for _ in range(10):
            level_coding.SymbolEncoder = Metered  # type: ignore[misc]
            start = time.perf_counter()
            latents = codec.tok.encode(pixels, patches=_patches(pixels, quality))
            middle = time.perf_counter()
            Metered.seconds = 0.0
            codec.code(latents, quality)
            stop = time.perf_counter()
            level_coding.SymbolEncoder = SymbolEncoder  # type: ignore[misc]
            coder = Metered.seconds
            rows.append((middle - start, stop - middle - coder, coder))
        parts = [median(column) for column in zip(*rows[1:], strict=True)]
        whole = sum(parts)
        shares = " | ".join(f"{part / whole:.0%}" for part in parts)
        lines.append(f"| {quality} | {whole:.3f} | {shares} |")
    return lines


def _patches(pixels: torch.Tensor, quality: int) -> int:
    return round(min(pixels.shape[-2:]) / side_of_quality(quality))


def twelve_megapixels(kodak: Path, folder: Path) -> Path:
    """Make a JPEG as a phone would: 4000 x 3000, from a photo enlarged."""
    path = folder / "phone.jpg"
    with Image.open(kodak) as image:
        image.convert("RGB").resize(MEGAPIXELS, Image.Resampling.LANCZOS).save(path, quality=90)
    return path


def large_table(kodak: Path, model: str | None) -> list[str]:
    """Both commands on 12 megapixels, each in a process of its own."""
    lines = [
        "| 12-megapixel JPEG | s | peak memory, GiB |",
        "|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = twelve_megapixels(kodak, folder)
        chosen = ("--model", model) if model else ()
        out = str(folder / "phone.dcs")
        for label, arguments in (
            ("compress", ("compress", str(source), out)),
            ("compress --bpp 0.25", ("compress", str(source), out, "--bpp", "0.25")),
            ("decompress", ("decompress", out, str(folder / "back.png"))),
        ):
            seconds, peak = in_fresh_process(Path(__file__), *arguments, *chosen)
            lines.append(f"| `{label}` | {seconds:.1f} | {peak / 2**30:.2f} |")
    return lines


def main() -> None:
    """Print the tables."""
    if sys.argv[1:2] in (["compress"], ["decompress"]):
        from dcs_tok.cli import main as command

        start = time.perf_counter()
        if command(sys.argv[1:]):
            raise SystemExit("the command failed")
        print(time.perf_counter() - start, peak_bytes())
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="bundled name, folder or hub id")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    codec = codec_of(args.model)
    files = sorted((args.data / "eval" / "kodak").glob("*.png"))
    pictures = [read_picture(path).pixels for path in files]
    print(f"{args.threads} threads, kappa {KAPPA}, {len(files)} pictures")
    for table in (
        lambda: bits_table(codec, pictures),
        lambda: maps_table(codec, pictures),
        lambda: time_table(codec, pictures[18].contiguous()),
        lambda: large_table(files[18], args.model),
    ):
        print("\n" + "\n".join(table()), flush=True)


if __name__ == "__main__":
    main()
