"""Maps of what levels encode (Fig. 15), and numbers that say what the maps show."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dcs_tok import DCSTok

_BLUR = 8
"""Side in pixels of the cells between which maps are compared: where a level works, not how."""


@dataclass(frozen=True)
class LevelMaps:
    """Of pictures (b, 3, H, W) at 1 to n levels.

    Attributes:
        decoded: reconstructions (n, b, 3, H, W).
        distortion: (n, b, 1, H, W), the absolute difference from the source, mean of channels.
        residual: (n, b, 1, H, W), what each level changes, likewise; of level 1 what it adds to the
            picture's mean colour.
    """

    decoded: Tensor
    distortion: Tensor
    residual: Tensor


@torch.no_grad()
def level_maps(tok: DCSTok, pixels: Tensor) -> LevelMaps:
    """Return the maps of Fig. 15."""
    latents = tok.encode(pixels)
    kept = range(1, tok.config.num_levels + 1)
    decoded = torch.stack([tok.decode(latents, levels=m) for m in kept])
    mean = decoded[:1].mean(dim=(-2, -1), keepdim=True).expand_as(decoded[:1])
    before = torch.cat([mean, decoded[:-1]])
    return LevelMaps(
        decoded=decoded,
        distortion=(decoded - pixels).abs().mean(dim=2, keepdim=True),
        residual=(decoded - before).abs().mean(dim=2, keepdim=True),
    )


def overlap(maps: LevelMaps) -> float:
    """Return how far levels work at the same places: 1 if at all the same, 0 if at none shared.

    The mean over pictures and pairs of levels of the sum over cells of ``min(p_i, p_j)``, where
    p_i is the share of level i's residual that lies in the cell, of 8 x 8 pixels.
    """
    n, b = maps.residual.shape[:2]
    cells = avg_pool2d(maps.residual.flatten(0, 1), _BLUR).reshape(n, b, -1)
    shares = cells / cells.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    pairs = [
        torch.minimum(shares[i], shares[j]).sum(dim=-1).mean()
        for i in range(n)
        for j in range(i + 1, n)
    ]
    return float(torch.stack(pairs).mean())


def levels_at_work(maps: LevelMaps) -> float:
    """Return among how many levels the work is divided: 1 if one does it all, n if all do as much.

    ``exp(-sum p_i ln p_i)`` with p_i the share of level i in the sum of residuals; the mean over
    pictures.
    """
    work = maps.residual.flatten(2).mean(dim=-1)  # (n, b)
    shares = work / work.sum(dim=0).clamp(min=1e-12)
    return float(torch.special.entr(shares).sum(dim=0).exp().mean())


def complexity_gain(maps: LevelMaps, pixels: Tensor, patches: int) -> float:
    """Return the correlation of a patch's complexity with what levels above the first bring it.

    Complexity is the mean absolute gradient of the patch; what they bring is how far the patch's
    distortion falls from level 1 to level n. Pearson's r over the patches of a picture, mean over
    pictures.

    Args:
        maps: of the pictures.
        pixels: the pictures (b, 3, H, W).
        patches: along the short side.
    """
    side = min(pixels.shape[-2:]) // patches
    rows = (pixels[..., 1:, :-1] - pixels[..., :-1, :-1]).abs()
    columns = (pixels[..., :-1, 1:] - pixels[..., :-1, :-1]).abs()
    gradient = torch.nn.functional.pad((rows + columns).mean(dim=1, keepdim=True), (0, 1, 0, 1))
    complexity = avg_pool2d(gradient, side).flatten(1)
    gain = avg_pool2d(maps.distortion[0] - maps.distortion[-1], side).flatten(1)
    pairs = zip(complexity, gain, strict=True)
    return float(torch.stack([_pearson(a, b) for a, b in pairs]).mean())


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-12)
