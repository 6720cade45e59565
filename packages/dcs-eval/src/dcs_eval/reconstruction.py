"""Reconstruction quality of a tokenizer: levels decide how much is kept, scale should not.

pixels --encode--> latents --decode levels 1..m at scale 1--> quality against the source
                      |                                               :
                      '----decode levels 1..m at scale s--> quality against the decode at scale 1,
                                                      at the smaller size: scale consistency
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from dcs_common.protocols import ImageTokenizer
from dcs_common.resample import resize
from dcs_eval.metrics import Comparison, Quality, measure
from dcs_eval.reconstruction_report import Reconstruction, ReconstructionReport


@torch.inference_mode()
def evaluate_reconstruction(
    tokenizer: ImageTokenizer,
    pictures: Iterable[tuple[str, Tensor]],
    *,
    levels: int | Sequence[int] | None = None,
    scales: Sequence[float] = (1.0,),
    ssim: Comparison | None = None,
    lpips: Comparison | None = None,
) -> ReconstructionReport:
    """Measure what a tokenizer keeps of pictures at every level count and scale.

    Each picture is encoded once; the level counts are prefixes of that latent.

    Args:
        tokenizer: anything that encodes and decodes pictures by levels.
        pictures: pairs of a name and pixels (1, 3, H, W) in [0, 1].
        levels: the level count or counts to decode; all of them by default.
        scales: factors on height and width to decode at.
        ssim, lpips: measured too where given: :func:`dcs_eval.metrics.ssim`, a
            :class:`dcs_eval.lpips_distance.LPIPS`, or any comparison of two pictures.

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
        for count, scale, picture, reference in _decodes(tokenizer, pixels, counts, scales):
            quality: Quality = measure(picture, reference, ssim=ssim, lpips=lpips)
            rows.append(
                Reconstruction(
                    picture=name,
                    levels=count,
                    scale=scale,
                    psnr=quality.psnr,
                    ssim=quality.ssim,
                    lpips=quality.lpips,
                )
            )
    if not rows:
        raise ValueError("`pictures` must hold at least one picture, but is empty.")
    return ReconstructionReport(rows=tuple(rows))


def _decodes(
    tokenizer: ImageTokenizer, pixels: Tensor, counts: Sequence[int], scales: Sequence[float]
) -> Iterator[tuple[int, float, Tensor, Tensor]]:
    """Yield level count, scale, and the two pictures to compare."""
    height, width = pixels.shape[-2:]
    latents = tokenizer.encode(pixels, levels=max(counts))
    for count in counts:
        base = tokenizer.decode(latents, size=(height, width), levels=count).clamp(0, 1)
        for scale in scales:
            if scale == 1:
                yield count, scale, base, pixels
                continue
            size = (max(1, round(scale * height)), max(1, round(scale * width)))
            scaled = tokenizer.decode(latents, size=size, levels=count).clamp(0, 1)
            if scale > 1:
                yield count, scale, resize(scaled, (height, width)).clamp(0, 1), base
            else:
                yield count, scale, scaled, resize(base, size).clamp(0, 1)


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
