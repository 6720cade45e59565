"""The same piece of a picture out of every codec, at equal bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dcs_common.codec import PictureCodec
from dcs_eval.rate_distortion import round_trip
from dcs_eval.rate_distortion_record import RateDistortion, RatePoint

CROP_SIDE = 176  # in pixels: six stand side by side on a screen, each at full size
_STRIDE = 16  # between the windows that are looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """A piece (1, 3, h, w) of what one codec gave back.

    Attributes:
        point: the bytes and qualities of the whole picture.
        fits: False if even the codec's smallest file exceeds the target.
    """

    point: RatePoint
    pixels: Tensor
    fits: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CropRow:
    """One piece of one picture: the original (1, 3, h, w), and each codec's by its name."""

    picture: str
    target_bytes: int
    original: Tensor
    crops: dict[str, Crop]


@torch.inference_mode()
def equal_bytes_crops(
    codecs: Mapping[str, PictureCodec],
    record: RateDistortion,
    picture: str,
    pixels: Tensor,
    target_bpp: float,
) -> CropRow:
    """Return the most detailed window of a picture out of every codec, at a target rate.

    Each codec gets the measured setting whose file is the largest that does not exceed the
    target, or its smallest file if all do.

    Args:
        codecs: those to show, all of them in the record.
        record: holds their bytes at every setting.
        picture: the name that the record gives the picture.
        pixels: (1, 3, H, W) in [0, 1].
        target_bpp: bits per pixel.
    """
    target = int(target_bpp * pixels.shape[-2] * pixels.shape[-1] / 8)
    top, left = most_detailed_window(pixels, CROP_SIDE)
    window = (..., slice(top, top + CROP_SIDE), slice(left, left + CROP_SIDE))
    crops: dict[str, Crop] = {}
    for name, codec in codecs.items():
        point = closest_point(
            [p for p in record.points if p.codec == name and p.picture == picture], target
        )
        _, restored = round_trip(codec, pixels, point.setting)
        crops[name] = Crop(
            point=point, pixels=restored[window].cpu(), fits=point.num_bytes <= target
        )
    return CropRow(picture=picture, target_bytes=target, original=pixels[window].cpu(), crops=crops)


def closest_point(points: list[RatePoint], target: int) -> RatePoint:
    """Return the largest file of at most ``target`` bytes, or the smallest if all are larger.

    Of two files of one size, the one closer to the source is taken.
    """
    fitting = [point for point in points if point.num_bytes <= target]
    if fitting:
        return max(fitting, key=lambda point: (point.num_bytes, point.psnr))
    return min(points, key=lambda point: (point.num_bytes, -point.psnr))


def most_detailed_window(pixels: Tensor, side: int) -> tuple[int, int]:
    """Return the top and left of the square with the most edges, of windows 16 pixels apart.

    Picking by a rule keeps anybody from picking what flatters a codec.
    """
    grey = pixels.float().mean(1, keepdim=True)
    edges = torch.zeros_like(grey)
    edges[..., 1:, :] += (grey[..., 1:, :] - grey[..., :-1, :]).abs()
    edges[..., 1:] += (grey[..., 1:] - grey[..., :-1]).abs()
    window = (min(side, grey.shape[-2]), min(side, grey.shape[-1]))
    means = avg_pool2d(edges, window, stride=_STRIDE)
    best = int(means.flatten().argmax())
    return best // means.shape[-1] * _STRIDE, best % means.shape[-1] * _STRIDE
