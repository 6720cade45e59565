"""Reconstruction quality of a tokenizer: levels decide how much is kept, scale should not.

pixels --encode--> latents --decode levels 1..m at scale 1--> quality against the source
                      |                                               :
                      |--decode levels 1..m at scale s--> quality against the decode at scale 1,
                      |                               at the smaller size: scale consistency
                      '--decode levels 1..m at rate g--> (clips) the same, at the lower rate
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from math import inf
from typing import Any

import torch
from torch import Tensor

from dcs_common.geometry import Rate, exact_rate
from dcs_common.protocols import ImageTokenizer
from dcs_common.resample import resize
from dcs_eval.decoding import decoded
from dcs_eval.frame_rates import at_rate
from dcs_eval.measuring import measure_all
from dcs_eval.metrics import Comparison
from dcs_eval.reconstruction_report import Reconstruction, ReconstructionReport

#: Picture, level count, scale, and the frame rate where it is not the source's.
_Decode = tuple[str, int, float, float | None]


@torch.inference_mode()
def evaluate_reconstruction(
    tokenizer: ImageTokenizer,
    pictures: Iterable[tuple[str, Tensor]],
    *,
    levels: int | Sequence[int] | None = None,
    scales: Sequence[float] = (1.0,),
    fps: Rate | None = None,
    rates: Sequence[Rate] = (),
    ssim: Comparison | None = None,
    lpips: Comparison | None = None,
) -> ReconstructionReport:
    """Measure what a tokenizer keeps of pictures or clips at every level count and scale.

    Each is encoded once; the level counts are prefixes of that latent. Scale consistency compares
    two decodes of one latent, never the source: at scale s, the larger of the decodes at s and 1 is
    resized to the smaller. At rate g, the decode at the higher of g and the clip's own rate f is
    sampled at the frames of the lower (:mod:`dcs_eval.frame_rates`). Of a clip, PSNR is that of
    the mean squared error over all its frames, SSIM and LPIPS are means over frames.

    Args:
        tokenizer: anything that encodes and decodes pictures by levels.
        pictures: pairs of a name and pixels (1, 3, H, W) in [0, 1]; clips (1, 3, T, H, W) with
            ``fps``.
        levels: the level count or counts to decode; all of them by default.
        scales: factors on height and width to decode at.
        fps: frames per second of all clips; None for pictures.
        rates: other frame rates to decode clips at, each at scale 1.
        ssim, lpips: measured too where given: :func:`dcs_eval.metrics.ssim`, a
            :class:`dcs_eval.lpips_distance.LPIPS`, or any comparison of two pictures.

    Raises:
        ValueError: if a level count, a scale, a rate or a picture is not usable, there is none, or
            the tokenizer decodes what is not finite.
    """
    counts = level_counts(levels, tokenizer.config.num_levels)
    scales = tuple(dict.fromkeys(scales))
    if not scales or not all(0 < scale < inf for scale in scales):
        raise ValueError(
            f"`scales` must hold positive factors, but is {tuple(scales)}. Pass (1.0,) for PSNR."
        )
    own_rate = None if fps is None else exact_rate(fps)
    others = _other_rates(own_rate, rates)

    def pairs() -> Iterator[tuple[_Decode, Tensor, Tensor]]:
        names: set[str] = set()
        for name, pixels in pictures:
            _check_picture(name, pixels, names, is_clip=own_rate is not None)
            names.add(name)
            yield from _decodes(tokenizer, name, pixels, counts, scales, own_rate, others)

    rows = [
        Reconstruction(
            picture=picture,
            levels=count,
            scale=scale,
            fps=rate,
            psnr=quality.psnr,
            ssim=quality.ssim,
            lpips=quality.lpips,
        )
        for (picture, count, scale, rate), quality in measure_all(pairs(), ssim=ssim, lpips=lpips)
    ]
    if not rows:
        raise ValueError("`pictures` must hold at least one picture, but is empty.")
    return ReconstructionReport(rows=tuple(rows))


def _decodes(
    tokenizer: ImageTokenizer,
    name: str,
    pixels: Tensor,
    counts: Sequence[int],
    scales: Sequence[float],
    fps: Fraction | None,
    rates: Sequence[Fraction],
) -> Iterator[tuple[_Decode, Tensor, Tensor]]:
    """Yield what was decoded, and the two pictures or clips to compare."""
    height, width = pixels.shape[-2:]
    own: dict[str, Any] = (
        {} if fps is None else {"fps": fps}
    )  # a tokenizer of pictures need not take it
    latents = tokenizer.encode(pixels, levels=max(counts), **own)
    decode = partial(decoded, tokenizer, latents, what=name)
    for count in counts:
        base = decode(size=(height, width), levels=count, **own)
        for scale in scales:
            if scale == 1:
                yield (name, count, scale, None), base, pixels
                continue
            size = (max(1, round(scale * height)), max(1, round(scale * width)))
            scaled = decode(size=size, levels=count, **own)
            if scale > 1:
                scaled, reference = resize(scaled, (height, width)).clamp(0, 1), base
            else:
                reference = resize(base, size).clamp(0, 1)
            yield (name, count, scale, None), scaled, reference
        for rate in rates:
            assert fps is not None, "rates are refused without fps"
            other = decode(size=(height, width), levels=count, fps=rate)
            if rate > fps:
                other, reference = at_rate(other, rate, fps, base.shape[2]), base
            else:
                reference = at_rate(base, fps, rate, other.shape[2])
            yield (name, count, 1.0, float(rate)), other, reference


def level_counts(levels: int | Sequence[int] | None, num_levels: int) -> tuple[int, ...]:
    """Return the level counts to decode, all of them by default.

    Raises:
        ValueError: if one is not of a tokenizer of so many levels.
    """
    if levels is None:
        return tuple(range(1, num_levels + 1))
    counts = (levels,) if isinstance(levels, int) else tuple(dict.fromkeys(levels))
    if not counts or any(not 1 <= count <= num_levels for count in counts):
        raise ValueError(
            f"`levels` must be between 1 and {num_levels}, but is {levels}. "
            f"This tokenizer has {num_levels} levels."
        )
    return counts


def levels_in_common(levels: Iterable[int] | None, num_levels: int) -> tuple[int, ...]:
    """Return those level counts that a tokenizer has, or all that it has where these are none.

    Args:
        levels: asked of several tokenizers; None for all.
        num_levels: of this one.
    """
    every = tuple(range(1, num_levels + 1))
    return tuple(count for count in sorted(set(levels or ())) if count <= num_levels) or every


def _other_rates(fps: Fraction | None, rates: Sequence[Rate]) -> tuple[Fraction, ...]:
    others = tuple(dict.fromkeys(exact_rate(rate) for rate in rates))
    if others and fps is None:
        raise ValueError(
            f"`rates` need clips of a known rate, but `fps` is None and `rates` is {tuple(rates)}. "
            "Pass the frames per second of the clips as `fps`."
        )
    if fps in others:
        raise ValueError(
            f"`rates` must be other rates than the clips' own, but {float(fps or 0):g} is both. "
            "Leave it out: it is always decoded."
        )
    return others


def _check_picture(name: str, pixels: Tensor, seen: set[str], *, is_clip: bool) -> None:
    ndim, wanted = (5, "(1, 3, T, H, W)") if is_clip else (4, "(1, 3, H, W)")
    if pixels.ndim != ndim or pixels.shape[:2] != (1, 3) or not pixels.is_floating_point():
        kind, advice = (
            ("clip", "Pass RGB, one clip at a time, or pictures without `fps`.")
            if is_clip
            else ("picture", "Pass RGB, one picture at a time.")
        )
        raise ValueError(
            f"Each {kind} must be a float tensor {wanted} in [0, 1], but {name!r} is "
            f"{pixels.dtype} {tuple(pixels.shape)}. {advice}"
        )
    if not 0 <= pixels.min() <= pixels.max() <= 1:
        raise ValueError(
            f"Pictures must lie in [0, 1], but {name!r} has values from {float(pixels.min()):g} to "
            f"{float(pixels.max()):g}. Clamp or rescale them."
        )
    if name in seen:
        raise ValueError(
            f"Each picture must have a name of its own, but {name!r} came twice. Rename one."
        )
