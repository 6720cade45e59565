"""The start of the linear path: a Karhunen-Loeve code for pictures and clips, refined (Sec. 5.1).

1. :mod:`dcs_tok.patch_moments` gathers second moments of canonical patches: of pictures at several
   patch counts k, and of clips at several sizes and rates. These are the *domains*.
2. The eigenvectors of the mixed moments, by descending variance, are the start: coefficients
   ordered coarse to fine, 16 of them a level.
3. No single orthonormal basis is best for all domains and levels. The refinement minimises

       sum over domains s of w_s * mean over levels m of log(error of domain s at m levels)

   over free encoder and decoder weights with L-BFGS; error and gradient follow from the moments
   in closed form, so that no patch is looked at again. The logarithm makes it mean PSNR.

Pictures and clips share coefficients but not all weights. A picture repeats one frame, so that it
sees only the encoder's sum over time, and it is decoded at time 1, so that it sees only the
decoder's last frame. The rest is free to serve clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_tok.patch_moments import PatchMoments

ERROR_FLOOR = 1e-5
"""Added to every error (50 dB): what is good enough need not become better."""


@dataclass(frozen=True)
class LinearCode:
    """Flat weights of :class:`dcs_tok.linear_path.LinearPath`.

    Attributes:
        mean: (F * g * g * 3,).
        encode: (coefficients, F * g * g * 3).
        decode: the same shape.
    """

    mean: Tensor
    encode: Tensor
    decode: Tensor


@dataclass(frozen=True)
class Domain:
    """What the refinement knows of one kind of patches.

    Coordinates: ``basis`` on space and :func:`temporal_basis` on time, about the common mean.

    Attributes:
        weight: its share in the objective.
        moment: second moment; spatial coordinates alone for pictures, (frame, spatial) for clips.
        metric: squared error in pixels of spatial coordinates, mean over pixels and colours.
        lost: error of the canonical grid itself.
        still: whether patches are pictures.
    """

    weight: float
    moment: Tensor
    metric: Tensor
    lost: float
    still: bool


def temporal_basis(frames: int) -> Tensor:
    """Return the orthonormal cosine basis of ``frames`` frames, (frequency, frame)."""
    time = (torch.arange(frames, dtype=torch.float64) + 0.5) / frames
    basis = torch.cos(torch.pi * torch.arange(frames, dtype=torch.float64)[:, None] * time)
    return basis / basis.norm(dim=1, keepdim=True)


def repeat_over_time(still: Tensor, frames: int) -> Tensor:
    """Return the moment (or mean) of clips whose frames all equal a picture's one frame."""
    return still.repeat(*(frames for _ in range(still.dim())))


def eigenvectors(moment: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` largest eigenvalues, descending, and eigenvectors as rows.

    The entry of largest magnitude of each eigenvector is positive.
    """
    values, vectors = torch.linalg.eigh(moment)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count].T
    sign = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True)).sign()
    return values, vectors * sign


def level_errors(domain: Domain, encode: Tensor, decode: Tensor, level_size: int) -> Tensor:
    """Return the mean squared error at every level count, (levels,).

    Args:
        domain: patches to be coded.
        encode, decode: (coefficients, F, spatial) in the domain's coordinates.
        level_size: coefficients per level.
    """
    frames = encode.shape[1]
    if domain.still:
        last = temporal_basis(frames)[:, -1].to(decode)
        encode = encode[:, 0] * frames**0.5  # a constant signal in time
        decode = torch.einsum("ktj,t->kj", decode, last)
        measured = decode @ domain.metric
        total = (domain.moment * domain.metric).sum()
    else:
        spatial = encode.shape[2]
        measured = (decode @ domain.metric).flatten(1) / frames
        blocks = domain.moment.view(frames, spatial, frames, spatial)
        total = sum((blocks[t, :, t] * domain.metric).sum() for t in range(frames)) / frames
        encode, decode = encode.flatten(1), decode.flatten(1)
    seen = encode @ domain.moment
    explained = (seen * measured).sum(dim=1).cumsum(0)
    overlap = (seen @ encode.T) * (measured @ decode.T)
    overlap = overlap.cumsum(0).cumsum(1).diagonal()
    errors = total - 2 * explained + overlap
    return errors[level_size - 1 :: level_size] + domain.lost


def refine(
    domains: Sequence[Domain],
    encode: Tensor,
    decode: Tensor,
    variances: tuple[Tensor, Tensor],
    level_size: int,
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Minimise the weighted log errors from a start; returns (encode, decode).

    Args:
        domains: the kinds of patches.
        encode, decode: (coefficients, F, spatial), the start.
        variances: of the coefficients and of the coordinates (F, spatial); they scale the
            variables so that a unit step in any of them matters about equally.
        level_size: coefficients per level.
        steps: L-BFGS iterations.
    """
    to_decode = variances[0].clamp(min=1e-6).rsqrt()[:, None, None].to(decode)
    to_encode = variances[1].clamp(min=1e-6).rsqrt().to(encode)
    offsets = [torch.zeros_like(encode, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.LBFGS(
        offsets, max_iter=steps, history_size=20, line_search_fn="strong_wolfe",
        tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = torch.zeros(())
        for domain in domains:
            errors = level_errors(
                domain,
                encode + offsets[0] * to_encode,
                decode + offsets[1] * to_decode,
                level_size,
            )
            part = domain.weight * (errors.clamp(min=0) + ERROR_FLOOR).log().mean()
            part.backward()
            loss += part.detach()
        return loss

    optimizer.step(objective)
    return encode + offsets[0].detach() * to_encode, decode + offsets[1].detach() * to_decode


def _spatial(moment: Tensor, frames: int) -> Tensor:
    """Return the mean over frames of a moment of clips."""
    spatial = moment.shape[0] // frames
    blocks = moment.view(frames, spatial, frames, spatial)
    return torch.stack([blocks[t, :, t] for t in range(frames)]).mean(dim=0)


def fit_linear_code(
    kinds: Sequence[tuple[PatchMoments, float]],
    *,
    frames: int,
    levels: int = 8,
    level_size: int = 16,
    steps: int = 100,
) -> LinearCode:
    """Fit one linear code to several kinds of patches.

    Args:
        kinds: moments, and the weight of each in the mean of log errors.
        frames: canonical frames F of the code; kinds have 1 (pictures) or F (clips).
        levels, level_size: the code has their product of coefficients.
        steps: L-BFGS iterations; 0 leaves the Karhunen-Loeve basis of the mixture.
    """
    count = levels * level_size
    weights = torch.tensor([weight for _, weight in kinds], dtype=torch.float64)
    weights = weights / weights.sum()

    def whole(moments: PatchMoments, value: Tensor) -> Tensor:
        return repeat_over_time(value, frames) if moments.frames == 1 else value

    mean = sum(w * whole(m, m.mean) for w, (m, _) in zip(weights, kinds, strict=True))
    # Common in time, since a picture would see no other.
    still_mean = mean.view(frames, -1).mean(dim=0)
    centers = {1: still_mean, frames: still_mean.repeat(frames)}
    centered = [m.about(centers[m.frames]) for m, _ in kinds]
    spatial = [_spatial(c, m.frames) for c, (m, _) in zip(centered, kinds, strict=True)]
    # A mixture whose parts are weighted by one over what half the levels leave of each has, at
    # first order, the gradient of the mean of log errors.
    scales = []
    for part, weight in zip(spatial, weights, strict=True):
        left = part.trace() - torch.linalg.eigvalsh(part)[-count // 2 :].sum()
        scales.append(weight / (left / len(part) + ERROR_FLOOR))
    basis = eigenvectors(sum(s * c for s, c in zip(scales, spatial, strict=True)), len(still_mean))[
        1
    ]

    in_time = torch.kron(temporal_basis(frames), basis)
    domains = []
    for c, (moments, _), weight in zip(centered, kinds, weights, strict=True):
        rotation = basis if moments.frames == 1 else in_time
        axes = [a / moments.weight for a in (moments.rows, moments.columns)]
        colours = torch.eye(3, dtype=torch.float64) / 3
        metric = basis @ torch.kron(torch.kron(*axes), colours) @ basis.T
        lost = moments.lost / moments.weight
        moment = rotation @ c @ rotation.T
        domains.append(Domain(float(weight), moment, metric, lost, moments.frames == 1))
    mixed = torch.zeros(frames * len(basis), frames * len(basis), dtype=torch.float64)
    for scale, domain in zip(scales, domains, strict=True):
        if domain.still:
            mixed[: len(basis), : len(basis)] += scale * frames * domain.moment
        else:
            mixed += scale * domain.moment
    mixed /= sum(scales)
    values, start = eigenvectors(mixed, count)
    encode = decode = start.view(count, frames, -1)
    if steps:
        variances = values.float(), mixed.diagonal().view(frames, -1).float()
        domains = [
            Domain(d.weight, d.moment.float(), d.metric.float(), d.lost, d.still) for d in domains
        ]
        encode, decode = refine(
            domains, encode.float(), decode.float(), variances, level_size, steps
        )
    encode, decode = (w.double().flatten(1) @ in_time for w in (encode, decode))
    return normalised(LinearCode(still_mean.repeat(frames), encode, decode), frames)


def normalised(code: LinearCode, frames: int) -> LinearCode:
    """Scale coefficients so that a step of one in any costs the same error in pixels.

    Rows of the decoder get norm one per frame, and a positive entry of largest magnitude.
    """
    norm = code.decode.norm(dim=1, keepdim=True) / frames**0.5
    peak = code.decode.gather(1, code.decode.abs().argmax(dim=1, keepdim=True))
    scale = norm * peak.sign()
    return LinearCode(code.mean, code.encode * scale, code.decode / scale)
