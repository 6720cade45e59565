"""PSNR by level count, at every scale of a sample: its rate-distortion curves (Fig. 6, 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dcs_common.geometry import Rate
from dcs_common.psnr import psnr
from dcs_tok import DCSTok
from scaling.capacity_law import Capacity, capacity_for


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One sample at one scale.

    Attributes:
        sample: its name.
        scale: side in pixels, or frames per second.
        amount: pixels or frames, which a vanilla tokenizer's tokens grow with.
        patches: tokens of one level.
        psnr: in dB, by level count from one on.
    """

    sample: str
    scale: int
    amount: int
    patches: int
    psnr: tuple[float, ...]

    def needed(self, target: float) -> Capacity:
        """Return the tokens that a PSNR takes."""
        return capacity_for(self.sample, self.amount, self.psnr, target, self.patches)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {name: getattr(self, name) for name in ("sample", "scale", "amount", "patches")} | {
            "psnr": [round(value, 4) for value in self.psnr]
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Curve":
        """Read what :meth:`to_json` returned."""
        return cls(**{**values, "psnr": tuple(values["psnr"])})


@torch.no_grad()
def measure_curve(
    tok: DCSTok, sample: str, scale: int, pixels: Tensor, fps: Rate | None = None
) -> Curve:
    """Encode once and decode every level count.

    Args:
        tok: the tokenizer.
        sample, scale: as of :class:`Curve`.
        pixels: (1, 3, H, W), or (1, 3, T, H, W) with ``fps``.
        fps: frames per second.
    """
    device = next(tok.parameters()).device
    source = pixels.to(device)
    latents = tok.encode(source, fps)
    t, h, w = latents.grid
    still = pixels.shape[-2] * pixels.shape[-1]
    return Curve(
        sample=sample,
        scale=scale,
        amount=still if fps is None else pixels.shape[2],
        patches=t * h * w,
        psnr=tuple(psnr(step.pixels, source) for step in tok.decode_progressive(latents)),
    )


def own_targets(curves: Sequence[Curve], scale: int, levels: int) -> dict[str, float]:
    """Return each sample's quality at one scale and level count, to be held at the others."""
    return {one.sample: one.psnr[levels - 1] for one in curves if one.scale == scale}


def by_scale(curves: Sequence[Curve]) -> dict[int, dict[str, Curve]]:
    """Return curves by scale, ascending, and by sample."""
    found: dict[int, dict[str, Curve]] = {}
    for one in sorted(curves, key=lambda one: one.scale):
        found.setdefault(one.scale, {})[one.sample] = one
    return found


def common_scales(curves: Sequence[Curve]) -> list[int]:
    """Return the scales that all samples were measured at."""
    names = {one.sample for one in curves}
    return [scale for scale, found in by_scale(curves).items() if set(found) == names]
