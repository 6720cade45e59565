"""What a tokenizer keeps of pictures, of clips, and at scales that it was not given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablations.level_measures import held_out_crops, level_deviations
from dcs_common.psnr import psnr
from dcs_common.resample import resize
from dcs_eval import evaluate_reconstruction
from dcs_tok import DCSTok
from dcs_tok.clips import read_clip
from dcs_tok.data.sources import find_samples
from systems.shipped_tokenizers import square

PICTURES, CLIPS = 48, 16
FRAMES, FPS = 8, 24
"""Of clips: two segments, 1/3 s."""
OTHER_SCALE = 1.5
SHOWN = 2


def measure_tokenizer(
    model: Path, sources: Sequence[Path], *, size: int, device: str, folder: Path
) -> dict[str, Any]:
    """Return PSNR in dB of every picture and clip, by levels kept.

    Args:
        model: a model folder.
        sources: folders and files of pictures and clips that it was not trained on.
        size: pixels a side of both; pictures are decoded at 1.5 times that, too.
        device: to work on.
        folder: gets ``shown.pt``, reconstructions of the first pictures by levels kept.
    """
    tok = DCSTok.from_pretrained(model).to(device)
    large = held_out_crops(sources, round(OTHER_SCALE * size), PICTURES).to(device)
    pictures = torch.stack([resize(crop, (size, size)) for crop in large]).clamp(0, 1)
    clips = held_out_clips(sources, size).to(device)
    torch.save(_shown(tok, pictures[:SHOWN]), folder / "shown.pt")
    return {
        "pictures": by_levels(tok, pictures),
        "clips": by_levels(tok, clips, fps=FPS),
        "larger": _at_another_scale(tok, pictures, large),
        "deviations": level_deviations(tok, pictures),
    }


def held_out_clips(sources: Sequence[Path], size: int) -> Tensor:
    """Return the first frames of clips: (n, 3, T, size, size), the square in the centre.

    Raises:
        ValueError: if there are none.
    """
    found = [Path(sample.location) for sample in find_samples(sources, ("clip",))]
    if not found:
        raise ValueError(
            f"There must be clips to measure on, but {[str(path) for path in sources]} hold none. "
            "Name some with `--held-out`."
        )
    step = max(1, len(found) // CLIPS)
    clips = [read_clip(path, 0, FRAMES).pixels[0].float() for path in found[::step][:CLIPS]]
    return torch.stack([square(clip, size) for clip in clips])


def by_levels(tok: DCSTok, samples: Tensor, fps: int | None = None) -> dict[str, list[float]]:
    """Return PSNR of every picture (b, 3, H, W), or clip (b, 3, T, H, W), by levels kept."""
    named = ((str(i), sample[None]) for i, sample in enumerate(samples))
    report = evaluate_reconstruction(tok, named, fps=fps)
    counts = range(1, tok.config.num_levels + 1)
    return {str(m): list(report.per_picture(m).values()) for m in counts}


@torch.no_grad()
def _at_another_scale(tok: DCSTok, pictures: Tensor, large: Tensor) -> list[float]:
    """Return PSNR of pictures decoded larger than they were given, against the larger ones."""
    size = (large.shape[-2], large.shape[-1])
    decoded = tok.decode(tok.encode(pictures), size=size)
    return [float(psnr(a, b)) for a, b in zip(decoded, large, strict=True)]


@torch.no_grad()
def _shown(tok: DCSTok, pictures: Tensor) -> dict[str, Tensor]:
    latents = tok.encode(pictures)
    counts = [m for m in (1, 2, 4, 8) if m <= tok.config.num_levels]
    shown = {str(m): tok.decode(latents, levels=m).cpu() for m in counts}
    return shown | {"source": pictures.cpu()}
