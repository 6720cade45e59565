"""The start of the linear path: Karhunen-Loeve codes of pictures and clips.

Second moments of canonical patches (:mod:`dcs_tok.patch_moments`) are gathered for several kinds
of patches: pictures at several patch counts k, clips at several sizes and rates. The eigenvectors
of their weighted sum, by descending variance, are the code: coefficients ordered coarse to fine,
``level_size`` of them a level, with the decoder the transpose of the encoder.

Weights. Two of them make the code good for mean PSNR, a mean of logarithms, and not for the error
of the hardest kinds alone:

- each picture counts by one over its detail, and
- each kind by its given weight over the error that its own eigenvectors leave at half the levels.

The derivative of ``sum_s w_s log(error_s)`` is that of ``sum_s w_s / error_s * error_s``, so that
the eigenvectors of this sum are a first-order optimum. Freeing the decoder from the encoder and
descending on the sum of logarithms over levels and kinds moved k = 16 by at most 0.01 dB and other
k by at most 0.12 dB, so that it is not done.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from dcs_common.atomic_file import write_atomically
from dcs_common.geometry import patches_of_side
from dcs_tok.config import PRESETS, DCSTokConfig
from dcs_tok.patch_moments import ClipSource, PatchMoments, clip_moments, picture_moments

ERROR_FLOOR = 1e-4
"""Added to errors (40 dB) in the weights: what is nearly exact need not become more so."""
PICTURE_WEIGHTS = {8: 1.0, 12: 1.0, 16: 30.0, 24: 1.0, 32: 1.0, 48: 1.0, 64: 1.0}
"""Weight by patch count. 30 for k = 16 keeps Kodak within 0.01 dB of the basis of k = 16 alone;
8 loses 0.08 dB there, and gains about 1 dB at k = 64, which is above 40 dB already."""
CLIP_SETTINGS = ((256, 1), (144, 1), (256, 2))
"""Short side and frame stride of the clips."""
STILLS_AMONG_MOVING = 0.3
"""Weight of pictures, their frame repeated, in the moving code; each clip setting has 1."""


def eigenvectors(moment: Tensor, count: int) -> Tensor:
    """Return the eigenvectors of the ``count`` largest eigenvalues, descending, as rows.

    The entry of largest magnitude of each is positive.
    """
    vectors = torch.linalg.eigh(moment).eigenvectors.flip(1)[:, :count].T
    peak = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return vectors * peak.sign()


def repeated(still: Tensor, frames: int) -> Tensor:
    """Return the mean or moment of clips whose frames all equal a picture's one frame."""
    return still.repeat(*(frames for _ in range(still.dim())))


def _left_over(moment: Tensor, count: int) -> float:
    """Return the mean squared error that the ``count`` best coefficients leave."""
    values = torch.linalg.eigvalsh(moment).flip(0)
    return float(values[count:].clamp(min=0).sum() / len(values))


def karhunen_loeve(
    kinds: Sequence[tuple[PatchMoments, float]],
    *,
    frames: int,
    levels: int = 8,
    level_size: int = 16,
) -> dict[str, Tensor]:
    """Return the code of a weighted mixture of kinds of patches.

    Coefficients are scaled so that a step of one in any of them costs the same error per pixel:
    rows of ``decode_weight`` have norm one per frame.

    Args:
        kinds: moments and weight of each kind; frames 1 (pictures) or ``frames`` (clips).
        frames: canonical frames F of the code.
        levels, level_size: the code has their product of coefficients.

    Returns:
        ``mean`` (F, g, g, 3), ``encode_weight`` and ``decode_weight`` (levels, level_size, F, g,
        g, 3), float32: the parameters of :class:`dcs_tok.linear_path.LinearPath`.

    Raises:
        ValueError: if there is no kind, or one has another number of frames.
    """
    if not kinds or any(m.frames not in (1, frames) for m, _ in kinds):
        raise ValueError(
            f"`kinds` must hold moments of 1 or {frames} frames, but holds "
            f"{[m.frames for m, _ in kinds]}. Gather them for these frames."
        )
    count = levels * level_size
    weights = [weight / sum(w for _, w in kinds) for _, weight in kinds]
    # One mean for all frames: a picture sees no other.
    still_mean = sum(
        (
            w * m.mean.view(m.frames, -1).mean(dim=0)
            for w, (m, _) in zip(weights, kinds, strict=True)
        ),
        torch.zeros(()),
    )
    mixture = torch.zeros(frames * len(still_mean), frames * len(still_mean), dtype=torch.float64)
    for weight, (moments, _) in zip(weights, kinds, strict=True):
        centered = moments.about(repeated(still_mean, moments.frames))
        share = weight / (_left_over(centered, count // 2) + ERROR_FLOOR)
        mixture += share * (repeated(centered, frames) if moments.frames == 1 else centered)
    vectors = eigenvectors(mixture, count).float()
    grid = kinds[0][0].grid
    shape = (frames, grid, grid, 3)
    return {
        "mean": repeated(still_mean, frames).view(shape).float(),
        "encode_weight": (vectors * frames**-0.5).view(levels, level_size, *shape),
        "decode_weight": (vectors * frames**0.5).view(levels, level_size, *shape).clone(),
    }


def fit_linear_path(
    pictures: Sequence[Path],
    clips: Sequence[ClipSource],
    *,
    frames: int = 4,
    grid: int = 16,
    segments_per_second: int = 6,
    levels: int = 8,
    level_size: int = 16,
    patch_pixels: int | None = None,
) -> dict[str, Tensor]:
    """Fit the codes of still and moving segments (:class:`dcs_tok.linear_path.LinearPath`).

    Args:
        pictures: folders, zips and files.
        clips: what moves. Without any, the moving code is that of frames which repeat.
        frames, grid: the canonical patch.
        segments_per_second: k_t of the clips.
        levels, level_size: n and d of the code.
        patch_pixels: side of the patches in pixels, of a model that has one size at every scale.

    Returns:
        The linear path's state dict.
    """
    if patch_pixels is None:
        stills = {k: picture_moments(pictures, patches=k, grid=grid) for k in PICTURE_WEIGHTS}
        weighted = [(stills[k], PICTURE_WEIGHTS[k]) for k in stills]
        resting = stills[16]
    else:
        resting = picture_moments(pictures, patch_pixels=patch_pixels, grid=grid)
        weighted = [(resting, 1.0)]
    still = karhunen_loeve(weighted, frames=1, levels=levels, level_size=level_size)
    kinds = [(resting, STILLS_AMONG_MOVING)]
    for short_side, stride in CLIP_SETTINGS if clips else ():
        moments = clip_moments(
            clips,
            patches=16 if patch_pixels is None else patches_of_side(short_side, patch_pixels),
            frames=frames,
            grid=grid,
            segments_per_second=segments_per_second,
            short_side=short_side,
            stride=stride,
        )
        kinds.append((moments, 1.0))
    moving = karhunen_loeve(kinds, frames=frames, levels=levels, level_size=level_size)
    return {
        f"{name}.{key}": tensor
        for name, code in (("still", still), ("moving", moving))
        for key, tensor in code.items()
    }


def _clip_source(text: str) -> ClipSource:
    try:
        return ClipSource.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command ``dcs-tok fit-linear``."""
    parser.add_argument("output", type=Path, help="safetensors file to be written")
    parser.add_argument(
        "--photos", type=Path, nargs="+", required=True, help="folders, zips or files"
    )
    parser.add_argument(
        "--clips",
        type=_clip_source,
        nargs="+",
        default=[],
        help="files, each with an optional range of frames: clip.mp4@0:600; default: none, for a "
        "model of pictures",
    )
    parser.add_argument(
        "--model",
        choices=[name for name, preset in PRESETS.items() if _has_linear_path(preset())],
        default="dcs-tok-nano",
        help="preset that the path goes into (default: %(default)s)",
    )


def _has_linear_path(config: DCSTokConfig) -> bool:
    return config.canonical is not None and config.canonical.linear_path


def run(arguments: argparse.Namespace) -> str:
    """Fit the linear path of a small model to pictures and clips (minutes)."""
    config = PRESETS[arguments.model]()
    assert config.canonical is not None, "only presets with a linear path can be chosen"
    tensors = fit_linear_path(
        arguments.photos,
        arguments.clips,
        frames=config.canonical.frames,
        grid=config.canonical.grid,
        segments_per_second=config.segments_per_second,
        levels=config.num_levels,
        level_size=config.latent_channels,
        patch_pixels=config.patch_pixels,
    )
    write_atomically(arguments.output, save(tensors))
    return f"wrote {arguments.output}: a linear path of {len(tensors)} tensors"
