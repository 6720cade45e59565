"""Reconstruction quality of the shipped nano model, beside the Karhunen-Loeve transform.

    python benchmarks/quality.py --data FOLDER [--model MODEL] [--lpips]

FOLDER holds ``eval/kodak/*.png`` (24 pictures), ``photos/photos-0?.zip`` (00 to 02 for the
transform, 03 for validation) and ``video/*``. Every figure is a mean over pictures or clips of PSNR
in dB on clamped values.
"""

import argparse
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image

from dcs_common import psnr, resize
from dcs_tok import DCSTok
from dcs_tok.clips import read_clip
from dcs_tok.data.sources import decode_picture
from dcs_tok.klt import karhunen_loeve
from dcs_tok.linear_path import LinearCode
from dcs_tok.losses.perceptual import PerceptualLoss
from dcs_tok.patch_moments import picture_moments
from dcs_tok.pictures import read_picture

LEVELS = (1, 2, 3, 4, 6, 8)
CLIPS = {
    "bunny_1920x1080_60fps.mp4": (0, 48),
    "carphone_176x144_30fps.mp4": (0, 48),
    "parkjoy_480x270_50fps_lossless.mp4": (0, 10),
    "london_pan_320x240_60fps.mp4": (660, 708),
}


def short_side(path: Path, side: int) -> torch.Tensor:
    """Read a picture and resize its short side with Pillow's Lanczos filter."""
    with Image.open(path) as image:
        width, height = image.size
        scale = side / min(width, height)
        size = round(width * scale), round(height * scale)
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            small.save(file, "PNG")
            return read_picture(file.name).pixels


def validation_photos(data: Path) -> list[torch.Tensor]:
    """Read every fourth photo of those that were never trained on."""
    with zipfile.ZipFile(data / "photos" / "photos-03.zip") as archive:
        names = sorted(archive.namelist())[::4]
        return [decode_picture(archive.read(name), name)[None].float() / 255 for name in names]


def by_level(tok: DCSTok, pictures: Iterable[torch.Tensor], patches: int) -> list[list[float]]:
    """Return PSNR of each picture at every level count of the model."""
    rows = []
    for pixels in pictures:
        latents = tok.encode(pixels, patches=patches)
        rows.append([psnr(step.pixels, pixels) for step in tok.decode_progressive(latents)])
    return rows


def transform(tok: DCSTok, photos: list[Path]) -> DCSTok:
    """Return a model that is the transform of 16 x 16 patches of photos and nothing else."""
    canonical = replace(tok.config.canonical, encoder=None, decoder=None)
    klt = DCSTok(replace(tok.config, canonical=canonical)).eval()
    code = klt.linear_path.still
    assert isinstance(code, LinearCode)
    moments = picture_moments(photos, patches=16, grid=16)
    code.load_state_dict(karhunen_loeve([(moments, 1.0)], frames=1))
    return klt


def table_row(name: str, rows: list[list[float]]) -> str:
    """Return a Markdown row of means at ``LEVELS``."""
    means = [fmean(row[m - 1] for row in rows) for m in LEVELS]
    return f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |"


def pictures_table(tok: DCSTok, klt: DCSTok, data: Path) -> Iterator[str]:
    """Kodak at two sizes and validation photos."""
    kodak = sorted((data / "eval" / "kodak").glob("*.png"))
    small = [short_side(path, 256) for path in kodak]
    native = [read_picture(path).pixels for path in kodak]
    photos = validation_photos(data)
    yield "| pictures, PSNR by levels | " + " | ".join(str(m) for m in LEVELS) + " |"
    yield "|---|" + "---|" * len(LEVELS)
    shipped = by_level(tok, small, 16)
    yield (table_row("Kodak, short side 256, k = 16: transform", by_level(klt, small, 16)))
    yield (table_row("the same: shipped", shipped))
    for k in (8, 32, 64):
        yield (table_row(f"Kodak, short side 256, k = {k}: transform", by_level(klt, small, k)))
        yield (table_row("the same: shipped", by_level(tok, small, k)))
    for k in (16, 32):
        yield (table_row(f"Kodak, native, k = {k}: transform", by_level(klt, native, k)))
        yield (table_row("the same: shipped", by_level(tok, native, k)))
    yield (table_row(f"{len(photos)} photos, k = 16: transform", by_level(klt, photos, 16)))
    yield (table_row("the same: shipped", by_level(tok, photos, 16)))
    falls = sum(a >= b for row in shipped for a, b in pairwise(row))
    yield (f"\nKodak at 256: PSNR fails to rise with a level {falls} times of {24 * 7}.")
    agree: dict[float, list[float]] = {0.5: [], 2.0: []}
    for pixels in small:
        latents = tok.encode(pixels)
        whole = tok.decode(latents)
        size = pixels.shape[2], pixels.shape[3]
        half = size[0] // 2, size[1] // 2
        double = tok.decode(latents, (2 * size[0], 2 * size[1]))
        agree[0.5].append(psnr(tok.decode(latents, half), resize(whole, half).clamp(0, 1)))
        agree[2.0].append(psnr(resize(double, size).clamp(0, 1), whole))
    yield (
        "One latent at 8 levels decoded at 0.5x and 2x, against its decode at 1x at the smaller "
        f"size: {fmean(agree[0.5]):.2f} and {fmean(agree[2.0]):.2f} dB."
    )


@torch.no_grad()
def lpips_table(tok: DCSTok, klt: DCSTok, data: Path) -> list[str]:
    """LPIPS with the squeeze trunk, on Kodak at short side 256 and native; lower is better."""
    weights = data / "weights"
    loss = PerceptualLoss(
        "squeeze",
        trunk_weights=weights / "squeezenet1_1_features.pth",
        heads=weights / "lpips_squeeze_lin_v0.1.pth",
    )
    kodak = sorted((data / "eval" / "kodak").glob("*.png"))
    lines = [
        "| LPIPS (squeeze) by levels | " + " | ".join(str(m) for m in LEVELS) + " |",
        "|---|" + "---|" * len(LEVELS),
    ]
    for side, k in ((256, 16), (512, 32)):
        for name, model in (("transform", klt), ("shipped", tok)):
            rows = []
            for path in kodak:
                pixels = short_side(path, side)
                steps = model.decode_progressive(model.encode(pixels, patches=k))
                rows.append([float(loss(step.pixels, pixels)) for step in steps])
            means = [fmean(row[m - 1] for row in rows) for m in LEVELS]
            label = f"Kodak, short side {side}, k = {k}: {name}"
            lines.append(f"| {label} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    return lines


def clips_table(tok: DCSTok, data: Path) -> list[str]:
    """Evaluation clips at short side 256 at most, beside their own frames coded as pictures."""
    lines = [
        "| clips, PSNR by levels | " + " | ".join(str(m) for m in LEVELS) + " |",
        "|---|" + "---|" * len(LEVELS),
    ]
    rows = []
    for name, (first, stop) in CLIPS.items():
        clip = read_clip(data / "video" / name, first, stop)
        frames = clip.pixels[0].transpose(0, 1).float()
        height, width = frames.shape[-2:]
        if min(height, width) > 256:
            scale = 256 / min(height, width)
            frames = resize(frames, (round(height * scale), round(width * scale))).clamp(0, 1)
        pixels = frames.transpose(0, 1)[None].contiguous()
        latents = tok.encode(pixels, clip.fps)
        rows.append([psnr(step.pixels, pixels) for step in tok.decode_progressive(latents)])
        lines.append(table_row(f"{name}, {pixels.shape[2]} frames", rows[-1:]))
    return [*lines, table_row("mean", rows)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="bundled name, folder or hub id")
    parser.add_argument("--lpips", action="store_true", help="LPIPS (squeeze) on Kodak at 256 too")
    args = parser.parse_args()
    tok = DCSTok.from_pretrained(args.model)
    klt = transform(tok, [args.data / "photos" / f"photos-0{i}.zip" for i in range(3)])
    if args.lpips:
        print("\n".join(lpips_table(tok, klt, args.data)), flush=True)
        print()
    for line in pictures_table(tok, klt, args.data):
        print(line, flush=True)
    print()
    print("\n".join(clips_table(tok, args.data)))


if __name__ == "__main__":
    main()
