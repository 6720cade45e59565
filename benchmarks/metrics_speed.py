"""PSNR, SSIM and LPIPS of every picture, against torchmetrics' means over the same pictures.

dcs-eval keeps a value for every picture; torchmetrics' classes, updated in batches, keep sums. Both
read one list of single pictures and use one LPIPS network, SqueezeNet with random weights, which
take the time that trained ones take. 10,000 pictures are extrapolated from the few measured.
"""

import os
import tempfile
import warnings
from pathlib import Path
from statistics import fmean

import torch
from measure import paired_ratio
from torch import Tensor

from dcs_eval import LPIPS, ssim
from dcs_eval.measuring import measure_all
from dcs_eval.metrics import Quality, import_metrics

SIZES = ((128, 256), (256, 64))  # side, pictures
BATCH = 16


def run(rounds: int = 3) -> list[str]:
    """Return a Markdown table."""
    lines = [
        "| pictures | ours / torchmetrics | ours, 10,000 | torchmetrics, 10,000 | difference |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as home:
        theirs, lpips = _networks(Path(home))
    for side, count in SIZES:
        pairs = _pairs(side, count)

        def ours(pairs: list[tuple[int, Tensor, Tensor]] = pairs) -> list[Quality]:
            return [quality for _, quality in measure_all(pairs, ssim=ssim, lpips=lpips)]

        def batches(pairs: list[tuple[int, Tensor, Tensor]] = pairs) -> list[float]:
            return _update(theirs, pairs)

        qualities, means = ours(), batches()
        # PSNR is left out: theirs is that of the mean error, ours a mean of decibels.
        own = [fmean(getattr(some, key) for some in qualities) for key in ("ssim", "lpips")]
        difference = max(abs(a - b) for a, b in zip(own, means, strict=True))
        ratio, our_seconds, their_seconds = paired_ratio(ours, batches, rounds)
        minutes = (seconds / count * 10_000 / 60 for seconds in (our_seconds, their_seconds))
        lines.append(
            f"| {count} of {side} px | {ratio:.2f} | "
            + " | ".join(f"{value:.1f} min" for value in minutes)
            + f" | {difference:.0e} |"
        )
    return lines


def _networks(home: Path) -> tuple[list, LPIPS]:
    """Return torchmetrics' three metrics and our LPIPS with the same random trunk."""
    torchmetrics = import_metrics("torchmetrics.image")
    torchvision = import_metrics("torchvision")
    trunk = home / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    trunk.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), trunk)
    before = os.environ.get("TORCH_HOME")
    os.environ["TORCH_HOME"] = str(home)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [
            torchmetrics.PeakSignalNoiseRatio(data_range=1.0),
            torchmetrics.StructuralSimilarityIndexMeasure(data_range=1.0),
            torchmetrics.LearnedPerceptualImagePatchSimilarity("squeeze", normalize=True),
        ]
    if before is None:
        del os.environ["TORCH_HOME"]
    else:
        os.environ["TORCH_HOME"] = before
    return theirs, LPIPS(trunk)


@torch.inference_mode()
def _update(metrics: list, pairs: list[tuple[int, Tensor, Tensor]]) -> list[float]:
    """Return torchmetrics' mean SSIM and LPIPS."""
    for metric in metrics:
        metric.reset()
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        pictures, references = (torch.cat([pair[i] for pair in batch]) for i in (1, 2))
        for metric in metrics:
            metric.update(pictures, references)
    return [float(metric.compute()) for metric in metrics][1:]


def _pairs(side: int, count: int) -> list[tuple[int, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for index in range(count):
        coarse = torch.rand(1, 3, side // 8, side // 8, generator=generator)
        reference = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
        reference = reference.clamp(0, 1)
        noise = 0.03 * torch.randn(reference.shape, generator=generator)
        pairs.append((index, (reference + noise).clamp(0, 1), reference))
    return pairs
