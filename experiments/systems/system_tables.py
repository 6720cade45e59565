"""Tables, verdicts and pictures that the small forms of Tables 1 and 2 share."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from launching import Context
from records import Picture, Table
from records.report import Cell, Verdict
from systems.sheets import sheet
from systems.shipped_tokenizers import intervals

NAMES = ("unguided", "guided")


def kept_rows(kept: Mapping[str, Any], what: str) -> list[tuple[Cell, ...]]:
    """Return a row for each tokenizer that was measured.

    Args:
        kept: as :mod:`systems.shipped_tokenizers` returns it.
        what: the samples are, such as "photos".
    """
    rows: list[tuple[Cell, ...]] = []
    for name, values in kept["tokenizers"].items():
        cells = dict(intervals(values))
        distance = values["frechet"]
        rows.append(
            (
                f"{name}: ours, {kept['count']} {what}",
                f"{kept['tokens']} x {kept['channels']}",
                *(cells.get(metric) for metric in ("psnr", "ssim", "lpips")),
                None if distance is None else f"{distance:.1f}",
            )
        )
    return rows


def kept_text(kept: Mapping[str, Any]) -> str:
    """Return the same for a verdict."""
    parts = []
    for name, values in kept["tokenizers"].items():
        cells = dict(intervals(values))
        parts.append(f"{name}: PSNR {cells['psnr']} dB, SSIM {cells['ssim']}")
    return "; ".join(parts)


def drawn_table(drawn: Mapping[str, Any]) -> Table:
    """Return distances and recognised shares of samples of one level."""
    rows: list[tuple[Cell, ...]] = []
    for name in ("unguided", "guided"):
        found = drawn["samples"][name]["1"]
        rows.append((name, _number(found["frechet"]), _percent(found["recognised"])))
    real = drawn["real"]
    rows.append(
        ("as many training samples", _number(real["frechet"]), _percent(real["recognised"]))
    )
    return Table(
        title="Samples of one level by a small generator",
        columns=("samples", f"squared Fréchet distance on {drawn['space']}", "recognised, %"),
        rows=tuple(rows),
        note=f"{drawn['count']} samples against {drawn['reference']} held out.",
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 100 else f"{value:.0f}"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.0f}"


def drawn_text(drawn: Mapping[str, Any]) -> str:
    """Return what the small generator reached, for a verdict that it cannot give."""
    unguided, guided = (drawn["samples"][name]["1"]["frechet"] for name in NAMES)
    return (
        f"a small generator of photos, {drawn['count']} samples: distance on {drawn['space']} "
        f"{_number(unguided)}, guided {_number(guided)}, real ones "
        f"{_number(drawn['real']['frechet'])}"
    )


def verdict(holds: bool) -> Verdict:
    """Return the verdict on a claim that could be tested."""
    return "reproduced in sign" if holds else "not reproduced"


def pairs_picture(context: Context, tokenizer: str, kept: Mapping[str, Any]) -> Picture:
    """Return sources and, below them, what one level keeps; of clips the first and last frame."""
    pairs = torch.load(context.folder_of("reconstruct") / f"{tokenizer}.pt", weights_only=True)
    rows = [
        [picture for source, _ in pairs for picture in _stills(source)],
        [picture for _, decoded in pairs for picture in _stills(decoded)],
    ]
    what = "Photos" if "frames" not in kept else "First and last frames of clips"
    return Picture(
        name="reconstructions",
        pixels=sheet(rows),
        caption=f"{what}, and below them what {tokenizer} keeps of them in one level "
        f"({kept['tokens']} tokens of {kept['channels']}).",
    )


def _stills(pixels: Tensor) -> list[Tensor]:
    return [pixels] if pixels.ndim == 3 else [pixels[:, 0], pixels[:, -1]]
