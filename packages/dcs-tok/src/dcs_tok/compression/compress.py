"""``compress``: pixels to the bytes of a ``.dcs`` file, to a quality, a size or a PSNR."""

from collections.abc import Callable
from os import PathLike

import torch
from torch import Tensor

from dcs_common.geometry import Rate
from dcs_tok.allocation import AllocationMethod, allocate_levels
from dcs_tok.compression.codec import Coded, codec_of
from dcs_tok.compression.quantiser import step_of_quality
from dcs_tok.compression.rate_control import RateControl, patches_of_side, side_of_quality
from dcs_tok.pixels import check_pixels
from dcs_tok.tokenizer import DCSTok

DEFAULT_QUALITY = 48
"""About 0.6 bits per pixel and 33 dB on photos."""


def compress(
    pixels: Tensor,
    model: DCSTok | str | PathLike[str] | None = None,
    levels: int | Tensor | None = None,
    *,
    quality: int | None = None,
    bpp: float | None = None,
    max_bytes: int | None = None,
    psnr: float | None = None,
    patches: int | None = None,
    fps: Rate | None = None,
    average_levels: float | None = None,
    allocation: AllocationMethod = "predicted",
    report: Callable[[str], None] | None = None,
) -> bytes:
    """Return the bytes of a ``.dcs`` file of one picture or clip.

    At most one of ``quality``, ``bpp``, ``max_bytes`` and ``psnr`` says what is wanted; without
    any, the quality is 48.

    Args:
        pixels: (1, 3, H, W) or (1, 3, T, H, W), RGB in [0, 1].
        model: the tokenizer, a name or a folder; default dcs-tok-nano-rate, which is bundled.
        levels: at most so many, or a map (t, h, w), which needs ``patches``; default all.
        quality: 0 to 100, of the quantiser's one global step, which halves every 12.
        bpp: bits per pixel that the file does not exceed, of all frames of a clip.
        max_bytes: bytes that the file does not exceed.
        psnr: dB that the decode, in 8 bits, reaches.
        patches: k, patches along the short side; default what serves the target best.
        fps: of clips.
        average_levels: spend so many levels on average, where they gain most
            (:func:`dcs_tok.allocate_levels`), and at most ``levels``.
        allocation: how ``average_levels`` decides.
        report: called with a line of text after each trial of a search.

    Raises:
        ValueError: naming requirement, value and remedy.
    """
    clip, _ = check_pixels(pixels, fps)
    if len(clip) != 1:
        raise ValueError(
            f"A .dcs file holds one picture or clip, but `pixels` hold {len(clip)}. Compress them "
            "one by one."
        )
    targets = {"quality": quality, "bpp": bpp, "max_bytes": max_bytes, "psnr": psnr}
    given = {name: value for name, value in targets.items() if value is not None}
    if len(given) > 1:
        raise ValueError(
            f"At most one target must be given, but {' and '.join(f'`{n}`' for n in given)} are. "
            "Keep one."
        )
    for name, value in given.items():
        if name != "quality" and not 0 < value < float("inf"):
            raise ValueError(f"`{name}` must be positive and finite, but is {value}.")
    if quality is not None:
        step_of_quality(quality)
    codec = codec_of(model)
    if average_levels is not None or isinstance(levels, Tensor):
        if patches is None:
            asked = DEFAULT_QUALITY if quality is None else quality
            patches = patches_of_side(pixels, side_of_quality(asked))
        if average_levels is not None:
            levels = _allocated(pixels, average_levels, levels, allocation, codec.tok, fps, patches)
    search = RateControl(codec, pixels, fps, levels, patches, report)
    return _searched(search, pixels, quality, bpp, max_bytes, psnr).data


def _searched(
    search: RateControl,
    pixels: Tensor,
    quality: int | None,
    bpp: float | None,
    max_bytes: int | None,
    psnr: float | None,
) -> Coded:
    if psnr is not None:
        return search.by_psnr(psnr).coded
    if bpp is not None:
        max_bytes = int(bpp * pixels[:, 0].numel() / 8)
    if max_bytes is not None:
        return search.by_bytes(max_bytes).coded
    return search.by_quality(DEFAULT_QUALITY if quality is None else quality)


@torch.no_grad()
def _allocated(
    pixels: Tensor,
    average: float,
    maximum: int | Tensor | None,
    method: AllocationMethod,
    tok: DCSTok,
    fps: Rate | None,
    patches: int,
) -> Tensor:
    if isinstance(maximum, Tensor):
        raise ValueError(
            "`levels` must be a count beside `average_levels`, but is a map. Give one of them."
        )
    return allocate_levels(
        pixels, average, maximum=maximum, method=method, model=tok, fps=fps, patches=patches
    )
