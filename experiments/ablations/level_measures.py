"""What the levels of a tokenizer hold: their deviations, and PSNR by how many are kept."""

from collections.abc import Sequence
from os import PathLike
from statistics import fmean

import torch
from torch import Tensor

from dcs_common.psnr import psnr
from dcs_common.resample import resize
from dcs_eval.pictures import spread
from dcs_tok import DCSTok
from dcs_tok.data.sources import SampleOpener, find_samples
from dcs_tok.training.latent_statistics import LatentStatistics


def held_out_crops(sources: Sequence[str | PathLike[str]], size: int, count: int = 64) -> Tensor:
    """Return square crops (count, 3, size, size) of pictures, at places spread over each.

    They are not resampled, as the windows of training are not, but where a picture is smaller.

    Args:
        sources: folders, zips and files of pictures.
        size: in pixels.
        count: of them, as many of each picture as it takes.

    Raises:
        ValueError: if there are no pictures.
    """
    found = find_samples(sources, ("picture",))
    if not found:
        raise ValueError(
            "Pictures to measure on must be PNG, JPEG or WebP files, but there are none in "
            f"{', '.join(map(str, sources))}. Name other folders with `--held-out`."
        )
    chosen = spread(found, count)  # so that no part of a data set decides alone
    each, opener = -(-count // len(chosen)), SampleOpener()
    crops = [
        crop
        for sample in chosen
        for crop in _crops(opener.read_picture(sample).float() / 255, size, each)
    ]
    return torch.stack(crops[:count])


def _crops(pixels: Tensor, size: int, count: int) -> list[Tensor]:
    height, width = pixels.shape[-2:]
    side = min(size, height, width)
    crops = []
    for i in range(count):
        # Powers of 1 over the plastic number spread points evenly, whatever their number.
        y = round(((i + 1) * 0.7549 % 1) * (height - side))
        x = round(((i + 1) * 0.5698 % 1) * (width - side))
        crops.append(resize(pixels[:, y : y + side, x : x + side], (size, size)))
    return crops


@torch.no_grad()
def level_deviations(tok: DCSTok, pixels: Tensor) -> list[float]:
    """Return the deviation of each level (Table 6): the root of the channels' mean variance."""
    latents = tok.encode(pixels)
    statistics = LatentStatistics(tok.config.num_levels, tok.config.latent_channels)
    statistics.add(latents.tokens, latents.levels)
    return statistics.std.square().mean(dim=1).sqrt().tolist()


@torch.no_grad()
def psnr_by_levels(tok: DCSTok, pixels: Tensor) -> list[float]:
    """Return the mean PSNR of pictures (b, 3, H, W) in dB when the first 1 to n levels are kept."""
    latents = tok.encode(pixels)
    kept = range(1, tok.config.num_levels + 1)
    return [mean_psnr(tok.decode(latents, levels=m), pixels) for m in kept]


def mean_psnr(reconstructions: Tensor, pixels: Tensor) -> float:
    """Return the mean over pictures (b, 3, H, W) of their PSNR in dB."""
    return fmean(psnr(a, b) for a, b in zip(reconstructions, pixels, strict=True))
