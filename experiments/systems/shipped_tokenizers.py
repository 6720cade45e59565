"""Tokenizers that ship, at one level, on pictures and clips that they were not trained on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcs_common import Latents
from dcs_common.geometry import Rate
from dcs_common.resample import resize
from dcs_eval import (
    LPIPS,
    FeatureSpace,
    FeatureStatistics,
    SqueezeNetFeatures,
    evaluate_reconstruction,
    frechet_distance,
    ssim,
)
from dcs_eval.mean_interval import mean_interval
from dcs_tok import DCSTok
from dcs_tok.clips import read_clip
from dcs_tok.data.sources import SampleOpener, find_samples
from launching import Context

PATCH = 16
"""Pixels a side of a patch: at 256 px the 256 tokens of 16 numbers of Table 1."""
SIZES = (256, 128)
MOST = 200


class OnePatchSize:
    """A tokenizer whose patches have 16 px at any size of what it is given."""

    def __init__(self, tokenizer: DCSTok) -> None:
        self._tokenizer = tokenizer
        self.config = tokenizer.config

    def encode(
        self,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
    ) -> Latents:
        """Encode with patches of 16 px."""
        patches = patches or max(1, min(pixels.shape[-2:]) // PATCH)
        return self._tokenizer.encode(pixels, fps=fps, levels=levels, patches=patches)

    def decode(
        self,
        latents: Latents,
        size: tuple[int, int] | None = None,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
    ) -> Tensor:
        """Decode."""
        return self._tokenizer.decode(latents, size=size, fps=fps, levels=levels)


def measure_pictures(
    context: Context, sources: Sequence[Path], tokenizers: Sequence[str]
) -> dict[str, Any]:
    """Return PSNR, SSIM and what the files of networks allow, of every picture at one level.

    Pictures are squares of 256 px, or of 128 px where they are smaller.
    """
    opener = SampleOpener()
    found = find_samples(sources, ("picture",))
    photos = [opener.read_picture(one).float() / 255 for one in found[:: _step(len(found))]]
    smallest = min(min(photo.shape[-2:]) for photo in photos)
    size = next((side for side in SIZES if side <= smallest), SIZES[-1])
    squares = [square(photo, size)[None] for photo in photos]
    return {"size": size, "count": len(squares)} | _measured(context, squares, tokenizers, None)


def measure_clips(
    context: Context,
    sources: Sequence[Path],
    tokenizers: Sequence[str],
    *,
    size: int,
    frames: int,
    fps: int,
) -> dict[str, Any]:
    """Return the same of every clip; distances are those of frames."""
    found = find_samples(sources, ("clip",))
    clips = [
        square(read_clip(Path(sample.location), 0, frames).pixels[0].float(), size)[None]
        for sample in found[:: _step(len(found))]
    ]
    about = {"size": size, "count": len(clips), "frames": frames, "fps": fps}
    return about | _measured(context, clips, tokenizers, fps)


def square(pixels: Tensor, size: int) -> Tensor:
    """Cut the square in the centre out of pixels (..., H, W), and resize it."""
    side = min(pixels.shape[-2:])
    top, left = (pixels.shape[-2] - side) // 2, (pixels.shape[-1] - side) // 2
    return resize(pixels[..., top : top + side, left : left + side], (size, size)).clamp(0, 1)


def _step(count: int) -> int:
    if not count:
        raise ValueError(
            "There must be something to measure on, but there is nothing of that kind. Name "
            "pictures or clips with `--held-out`."
        )
    return -(-count // MOST)


def _measured(
    context: Context, samples: Sequence[Tensor], tokenizers: Sequence[str], fps: int | None
) -> dict[str, Any]:
    options, device = context.options, context.device
    lpips = None
    if options.lpips_trunk is not None:
        lpips = LPIPS(options.lpips_trunk, options.lpips_heads, device=device)
    space = None
    if options.feature_weights is not None:
        space = SqueezeNetFeatures(options.feature_weights, device)
    rows: dict[str, Any] = {}
    for name in tokenizers:
        tokenizer = OnePatchSize(DCSTok.from_pretrained(name).to(device))
        named = ((str(i), sample.to(device)) for i, sample in enumerate(samples))
        report = evaluate_reconstruction(
            tokenizer, named, levels=1, fps=fps, ssim=ssim, lpips=lpips
        )
        decoded = [_decoded(tokenizer, sample.to(device), fps) for sample in samples]
        rows[name] = {
            metric: list(report.per_picture(1, metric=metric).values()) for metric in report.metrics
        }
        rows[name]["frechet"] = None if space is None else _distance(samples, decoded, space)
        shown = [(samples[i][0], decoded[i][0].cpu()) for i in range(min(3, len(samples)))]
        torch.save(shown, context.folder / f"{name}.pt")
    first = tokenizer.encode(samples[0].to(device), **({} if fps is None else {"fps": fps}))
    tokens = first.tokens.shape
    return {
        "tokenizers": rows,
        "tokens": tokens[1] * tokens[2] * tokens[3],
        "channels": tokens[5],
        "space": None if space is None else space.name,
    }


@torch.no_grad()
def _decoded(tokenizer: OnePatchSize, sample: Tensor, fps: int | None) -> Tensor:
    rate: dict[str, Any] = {} if fps is None else {"fps": fps}
    return tokenizer.decode(tokenizer.encode(sample, levels=1, **rate), levels=1).clamp(0, 1)


def _distance(
    originals: Sequence[Tensor], decoded: Sequence[Tensor], space: FeatureSpace
) -> float | None:
    """Return the squared Fréchet distance of pictures or of all frames; None for a single one."""
    sides = [torch.cat([space(_frames(some)) for some in side]) for side in (originals, decoded)]
    if len(sides[0]) < 2:
        return None
    first, second = (FeatureStatistics.of(features) for features in sides)
    return float(frechet_distance(first, second))


def _frames(sample: Tensor) -> Tensor:
    """Return a picture, or a clip's frames, as pictures of 8 bits (n, 3, H, W)."""
    pictures = sample if sample.ndim == 4 else sample[0].transpose(0, 1)
    return pictures.mul(255).round().div(255)


def intervals(values: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, str]]:
    """Yield the metrics with their means and 95 % t intervals."""
    decimals = {"psnr": 2, "ssim": 3, "lpips": 3}
    for metric, places in decimals.items():
        if values.get(metric):
            yield metric, mean_interval(values[metric]).text(places)
