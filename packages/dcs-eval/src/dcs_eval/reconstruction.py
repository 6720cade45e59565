"""Reconstruction quality of a tokenizer: levels decide how much is kept, scale should not.

pixels --encode--> latents --decode levels 1..m at scale 1--> PSNR against the source
                      |                                               :
                      '----decode levels 1..m at scale s--> PSNR against the decode at scale 1,
                                                      at the smaller size: scale consistency
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from dcs_common.protocols import ImageTokenizer
from dcs_common.psnr import psnr
from dcs_common.resample import resize


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """One picture at one level count and one scale.

    At scale 1 `psnr` (dB) compares with the source; elsewhere the larger of this decode and the
    one at scale 1 is resampled to the size of the smaller and compared ("scale consistency").
    """

    picture: str
    levels: int
    scale: float
    psnr: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconstructionReport:
    """Every measurement of one evaluation, in the order it was made."""

    rows: tuple[Reconstruction, ...]

    def per_picture(self, levels: int, scale: float = 1.0) -> dict[str, float]:
        """Return the PSNR of each picture in dB.

        Raises:
            ValueError: if this pair was not evaluated.
        """
        found = {
            row.picture: row.psnr
            for row in self.rows
            if row.levels == levels and row.scale == scale
        }
        if not found:
            pairs = sorted({(row.levels, row.scale) for row in self.rows})
            raise ValueError(
                f"`levels` and `scale` must be a pair that was evaluated, but are "
                f"{levels} and {scale:g}. Evaluated: {pairs}."
            )
        return found

    def mean(self, levels: int, scale: float = 1.0) -> float:
        """Return the mean over pictures of the PSNR in dB."""
        return fmean(self.per_picture(levels, scale).values())

    def table(self, *, pictures: bool = False) -> str:
        """Return a Markdown table: a row per level count, a column per scale, means in dB.

        Args:
            pictures: put the rows of every single picture below the means.
        """
        scales = list(dict.fromkeys(row.scale for row in self.rows))
        counts = list(dict.fromkeys(row.levels for row in self.rows))
        titles = ["PSNR, dB" if scale == 1 else f"agreement at {scale:g}x, dB" for scale in scales]
        lines = [
            _table_line(["picture", "levels", *titles]),
            _table_line(["---"] + ["---:"] * (1 + len(scales))),
        ]
        for count in counts:
            means = [f"{self.mean(count, scale):.2f}" for scale in scales]
            lines.append(_table_line(["mean", str(count), *means]))
        if pictures:
            columns = {(c, s): self.per_picture(c, s) for c in counts for s in scales}
            for name in dict.fromkeys(row.picture for row in self.rows):
                for count in counts:
                    values = [f"{columns[count, scale][name]:.2f}" for scale in scales]
                    lines.append(_table_line([name, str(count), *values]))
        return "\n".join(lines)


@torch.inference_mode()
def evaluate_reconstruction(
    tokenizer: ImageTokenizer,
    pictures: Iterable[tuple[str, Tensor]],
    *,
    levels: int | Sequence[int] | None = None,
    scales: Sequence[float] = (1.0,),
) -> ReconstructionReport:
    """Measure what a tokenizer keeps of pictures at every level count and scale.

    Each picture is encoded once; the level counts are prefixes of that latent.

    Args:
        tokenizer: anything that encodes and decodes pictures by levels.
        pictures: pairs of a name and pixels (1, 3, H, W) in [0, 1].
        levels: the level count or counts to decode; all of them by default.
        scales: factors on height and width to decode at.

    Raises:
        ValueError: if a level count, a scale or a picture is not usable, or there is none.
    """
    counts = _level_counts(levels, tokenizer.config.num_levels)
    if not scales or any(scale <= 0 for scale in scales):
        raise ValueError(
            f"`scales` must hold positive factors, but is {tuple(scales)}. Pass (1.0,) for PSNR."
        )
    rows: list[Reconstruction] = []
    names: set[str] = set()
    for name, pixels in pictures:
        _check_picture(name, pixels, names)
        names.add(name)
        for count, scale, value in _evaluate_picture(tokenizer, pixels, counts, scales):
            rows.append(Reconstruction(picture=name, levels=count, scale=scale, psnr=value))
    if not rows:
        raise ValueError("`pictures` must hold at least one picture, but is empty.")
    return ReconstructionReport(rows=tuple(rows))


def _evaluate_picture(
    tokenizer: ImageTokenizer, pixels: Tensor, counts: Sequence[int], scales: Sequence[float]
) -> Iterator[tuple[int, float, float]]:
    height, width = pixels.shape[-2:]
    latents = tokenizer.encode(pixels, levels=max(counts))
    for count in counts:
        base = tokenizer.decode(latents, size=(height, width), levels=count).clamp(0, 1)
        for scale in scales:
            if scale == 1:
                yield count, scale, psnr(base, pixels)
                continue
            size = (max(1, round(scale * height)), max(1, round(scale * width)))
            scaled = tokenizer.decode(latents, size=size, levels=count).clamp(0, 1)
            if scale > 1:
                yield count, scale, psnr(resize(scaled, (height, width)).clamp(0, 1), base)
            else:
                yield count, scale, psnr(scaled, resize(base, size).clamp(0, 1))


def _level_counts(levels: int | Sequence[int] | None, num_levels: int) -> tuple[int, ...]:
    if levels is None:
        return tuple(range(1, num_levels + 1))
    counts = (levels,) if isinstance(levels, int) else tuple(levels)
    if not counts or any(not 1 <= count <= num_levels for count in counts):
        raise ValueError(
            f"`levels` must be between 1 and {num_levels}, but is {levels}. "
            f"This tokenizer has {num_levels} levels."
        )
    return counts


def _check_picture(name: str, pixels: Tensor, seen: set[str]) -> None:
    if pixels.ndim != 4 or pixels.shape[:2] != (1, 3) or not pixels.is_floating_point():
        raise ValueError(
            f"Each picture must be a float tensor (1, 3, H, W) in [0, 1], but {name!r} is "
            f"{pixels.dtype} {tuple(pixels.shape)}. Pass RGB, one picture at a time."
        )
    if name in seen:
        raise ValueError(
            f"Each picture must have a name of its own, but {name!r} came twice. Rename one."
        )


def _table_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
