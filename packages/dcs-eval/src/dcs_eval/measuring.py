"""Measuring many pairs of pictures: alike sizes together, in pieces, in the order they came.

pairs --> by size --> pieces of a few pictures --> squared error, SSIM, LPIPS of every picture
                                                              '--> a Quality for every pair

A clip is measured by its frames: PSNR of the mean squared error over all of them, means of SSIM and
LPIPS. What is held is bounded, whatever the number of pairs.
"""

from collections.abc import Iterable, Iterator
from math import inf, log10
from statistics import fmean
from typing import TypeVar

import torch
from torch import Tensor

from dcs_eval.metrics import Comparison, Quality

Key = TypeVar("Key")

# On a processor pieces that fit its cache are faster than large ones; a GPU wants work.
_PIECE_OF_CPU, _PIECE_OF_GPU = 2**16, 2**22


@torch.inference_mode()
def measure_each(
    pictures: Tensor,
    references: Tensor,
    *,
    ssim: Comparison | None = None,
    lpips: Comparison | None = None,
) -> list[Quality]:
    """Return the quality of each of several pictures (N, 3, H, W) in [0, 1].

    Raises:
        ValueError: if the shapes differ, or the pictures are too small for a metric.
    """
    pairs = zip(range(len(pictures)), pictures.split(1), references.split(1), strict=False)
    _check_shapes(pictures, references)
    return [quality for _, quality in measure_all(pairs, ssim=ssim, lpips=lpips)]


def measure_all(
    pairs: Iterable[tuple[Key, Tensor, Tensor]],
    *,
    ssim: Comparison | None = None,
    lpips: Comparison | None = None,
    max_pixels: int | None = None,
) -> Iterator[tuple[Key, Quality]]:
    """Yield the quality of every pair, in the order of the pairs.

    Args:
        pairs: a key, which comes back with the quality, then a picture and its reference, both
            (1, 3, H, W) or clips (1, 3, T, H, W) in [0, 1].
        ssim, lpips: measured too where given. Comparisons with a method ``each(pictures,
            references)``, which returns (N,) values, get pieces of several pictures.
        max_pixels: pixels to hold before they are measured, and at most in a piece; by device if
            None. A larger picture is a piece by itself.

    Raises:
        ValueError: if the shapes of a pair differ, or a picture is too small for a metric.
    """
    waiting: list[tuple[Key, Tensor, Tensor]] = []
    held = 0
    for key, picture, reference in pairs:
        _check_shapes(picture, reference)
        limit = max_pixels or (_PIECE_OF_CPU if picture.device.type == "cpu" else _PIECE_OF_GPU)
        pixels = picture.numel() // 3
        if waiting and held + pixels > limit:
            yield from _measure_waiting(waiting, ssim, lpips, limit)
            waiting, held = [], 0
        waiting.append((key, picture, reference))
        held += pixels
    if waiting:
        yield from _measure_waiting(waiting, ssim, lpips, limit)


def _check_shapes(picture: Tensor, reference: Tensor) -> None:
    if picture.shape != reference.shape:
        raise ValueError(
            f"Both pictures must have one shape, but have {tuple(picture.shape)} and "
            f"{tuple(reference.shape)}. Resize one of them."
        )


@torch.inference_mode()
def _measure_waiting(
    waiting: list[tuple[Key, Tensor, Tensor]],
    ssim: Comparison | None,
    lpips: Comparison | None,
    max_pixels: int,
) -> list[tuple[Key, Quality]]:
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, (_, picture, _) in enumerate(waiting):
        by_size.setdefault(tuple(picture.shape[-2:]), []).append(index)
    qualities: dict[int, Quality] = {}
    for (height, width), indices in by_size.items():
        pairs = [[_frames(some) for some in waiting[index][1:]] for index in indices]
        pictures, references = (torch.cat(side) for side in zip(*pairs, strict=True))
        step = max(1, max_pixels // (height * width))
        pieces = list(zip(pictures.split(step), references.split(step), strict=True))
        errors = [value for piece in pieces for value in _squared_errors(*piece)]
        ssims = [value for piece in pieces for value in _values(ssim, *piece)]
        lpipses = [value for piece in pieces for value in _values(lpips, *piece)]
        start = 0
        for index, (picture, _) in zip(indices, pairs, strict=True):
            mine = slice(start, start + len(picture))
            qualities[index] = Quality(
                psnr=_psnr(fmean(errors[mine])),
                ssim=fmean(ssims[mine]) if ssims else None,
                lpips=fmean(lpipses[mine]) if lpipses else None,
            )
            start += len(picture)
    return [(key, qualities[index]) for index, (key, _, _) in enumerate(waiting)]


def _frames(pixels: Tensor) -> Tensor:
    """Return (1, 3, H, W) as it is and (1, 3, T, H, W) as (T, 3, H, W)."""
    return pixels if pixels.ndim == 4 else pixels[0].transpose(0, 1)


def _squared_errors(pictures: Tensor, references: Tensor) -> list[float]:
    difference = pictures.double() - references.double()
    return difference.square_().mean((1, 2, 3)).tolist()


def _psnr(squared_error: float) -> float:
    return inf if squared_error == 0 else -10 * log10(squared_error)


def _values(compare: Comparison | None, pictures: Tensor, references: Tensor) -> list[float]:
    if compare is None:
        return []
    each = getattr(compare, "each", None)
    if each is not None:
        return each(pictures, references).tolist()
    pairs = zip(pictures.split(1), references.split(1), strict=True)
    return [float(compare(*pair)) for pair in pairs]
