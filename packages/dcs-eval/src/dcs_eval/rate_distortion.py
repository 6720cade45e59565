"""Measuring codecs on pictures: every setting, real bytes, the picture that comes back.

pixels --compress--> bytes --decompress--> pixels, rounded to 8 bits --> PSNR, SSIM, LPIPS
                       '--> 8 * bytes / (H * W): bits per pixel
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dcs_common.codec import PictureCodec
from dcs_eval.eight_bit import to_bytes
from dcs_eval.metrics import Comparison, measure
from dcs_eval.rate_distortion_record import MeasuredPicture, RateDistortion, RatePoint


@torch.inference_mode()
def rate_distortion(
    codecs: Mapping[str, PictureCodec],
    pictures: Iterable[tuple[str, Tensor]],
    *,
    ssim: Comparison | None = None,
    lpips: Comparison | None = None,
    known: RateDistortion | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> RateDistortion:
    """Measure every codec on every picture at every setting.

    Args:
        codecs: by the names that the record gives them.
        pictures: pairs of a name and pixels (1, 3, H, W) in [0, 1], on any device. They are read
            one after another.
        ssim, lpips: measured too where given.
        known: an earlier record. What it holds of the same codec, setting and pixels is taken
            from there, if it has the metrics asked for and the codec has the same ``version``. A
            codec without that attribute is measured anew.
        progress: told ``picture: codec`` before each is measured.

    Raises:
        ValueError: if there is no codec or picture, or a codec does not give a picture back.
    """
    if not codecs:
        raise ValueError("`codecs` must hold at least one codec, but is empty.")
    versions = {name: str(getattr(codec, "version", "")) for name, codec in codecs.items()}
    usable = _usable(known, versions, ssim is not None, lpips is not None)
    measured: list[MeasuredPicture] = []
    points: list[RatePoint] = []
    for picture, pixels in pictures:
        about = describe_picture(picture, pixels)
        if any(other.name == picture for other in measured):
            raise ValueError(
                f"Each picture must have a name of its own, but {picture!r} came twice. Rename one."
            )
        measured.append(about)
        reference = to_bytes(pixels).float() / 255
        for name, codec in codecs.items():
            progress(f"{picture}: {codec.name}")
            for setting in codec.settings:
                if (old := usable.get((name, setting, about.sha256))) is not None:
                    points.append(replace(old, picture=picture))
                    continue
                data, restored = round_trip(codec, pixels, setting)
                quality = measure(restored, reference, ssim=ssim, lpips=lpips)
                points.append(
                    RatePoint(
                        codec=name,
                        setting=setting,
                        picture=picture,
                        num_bytes=len(data),
                        bpp=8 * len(data) / (about.height * about.width),
                        psnr=quality.psnr,
                        ssim=quality.ssim,
                        lpips=quality.lpips,
                    )
                )
    if not measured:
        raise ValueError("`pictures` must hold at least one picture, but is empty.")
    return RateDistortion(
        titles={name: codec.name for name, codec in codecs.items()},
        versions=versions,
        pictures=tuple(measured),
        points=tuple(points),
    )


def round_trip(codec: PictureCodec, pixels: Tensor, setting: float) -> tuple[bytes, Tensor]:
    """Return a picture's file and what comes back of it, rounded to 8 bits, on its device.

    Raises:
        ValueError: if what comes back has another shape.
    """
    data = codec.compress(pixels, setting)
    restored = codec.decompress(data)
    if restored.shape != pixels.shape:
        raise ValueError(
            f"A codec must give back a picture of {tuple(pixels.shape)}, but {codec.name} at "
            f"{setting:g} gave {tuple(restored.shape)}. Report it to its package."
        )
    return data, to_bytes(restored.to(pixels.device)).float() / 255


def describe_picture(name: str, pixels: Tensor) -> MeasuredPicture:
    """Return what the record says of a picture.

    Raises:
        ValueError: if it is no float tensor (1, 3, H, W).
    """
    if pixels.ndim != 4 or pixels.shape[:2] != (1, 3) or not pixels.is_floating_point():
        raise ValueError(
            f"Each picture must be a float tensor (1, 3, H, W) in [0, 1], but {name!r} is "
            f"{pixels.dtype} {tuple(pixels.shape)}. Pass RGB, one picture at a time."
        )
    content = to_bytes(pixels[0]).permute(1, 2, 0).contiguous().cpu().numpy().tobytes()
    height, width = pixels.shape[-2:]
    return MeasuredPicture(
        name=name, width=width, height=height, sha256=hashlib.sha256(content).hexdigest()
    )


def _usable(
    known: RateDistortion | None, versions: Mapping[str, str], with_ssim: bool, with_lpips: bool
) -> dict[tuple[str, float, str], RatePoint]:
    """Return the points that need not be measured again, by codec, setting and pixels."""
    if known is None:
        return {}
    content = {picture.name: picture.sha256 for picture in known.pictures}
    return {
        (point.codec, point.setting, content[point.picture]): point
        for point in known.points
        if known.versions[point.codec]
        and known.versions[point.codec] == versions.get(point.codec)
        and (point.ssim is not None or not with_ssim)
        and (point.lpips is not None or not with_lpips)
    }
