"""Table 2 with what was measured here, and its two verdicts."""

from collections.abc import Mapping
from typing import Any

from launching import Context
from records import Claim, Picture, Report, Table
from records.report import Cell
from systems.clip_measures import clip_sheet
from systems.system_tables import (
    NAMES,
    drawn_table,
    drawn_text,
    kept_rows,
    kept_text,
    pairs_picture,
    verdict,
)

PAPER: tuple[tuple[Cell, ...], ...] = (
    ("OmniTokenizer", "4096 x 8", 28.95, 10.21, 480.60, 88.89),
    ("Cosmos", "2048 x 16", 31.70, 13.67, 497.01, 85.22),
    ("VFRTok", "512 x 32", 31.54, 13.79, 377.50, 71.34),
    ("paper", "1024 x 16", 28.55, 17.51, 452.99, 86.87),
)
NEAR_PSNR, NEAR_DISTANCE = 0.5, 1.1
"""On a par with the paper: at most half a decibel below, or a tenth above a distance."""


def report(context: Context) -> Report:
    """Report whichever preset ran."""
    if context.options.preset == "paper":
        return _paper_report(context)
    kept, drawn = context.result("reconstruct"), context.result("measure")
    return Report(
        tables=(_kept_table(kept), drawn_table(drawn), _motion_table(drawn), _paper_table(None)),
        claims=(_kept_claim(kept), _drawn_claim(drawn)),
        pictures=(
            pairs_picture(context, "dcs-tok-nano", kept),
            *(
                Picture(
                    name=f"samples-{name}",
                    pixels=clip_sheet(context.run / "samples" / name, 1),
                    caption=f"Frames 1, 6, 11 and 16 of a generated clip of each class, {name}.",
                )
                for name in NAMES
            ),
        ),
        notes=(
            "UCF101, the I3D network and models of the paper's size are not here: clips are panned "
            "over photos, classes are photos, and nothing moves but the window.",
            f"Distances are squared Fréchet distances on {drawn['space']}, never FVD: they see no "
            "motion, which has a table of its own.",
        ),
    )


def _kept_table(kept: Mapping[str, Any]) -> Table:
    rows = kept_rows(kept, "clips")
    rows += [(f"{row[0]}, UCF101", row[1], row[2], "-", "-", "-") for row in PAPER]
    return Table(
        title=f"Reconstruction of {kept['frames']} frames at {kept['fps']} fps from one level, "
        f"{kept['size']} px",
        columns=("tokenizer", "latent", "PSNR, dB", "SSIM", "LPIPS", "distance on SqueezeNet"),
        rows=tuple(rows),
        note="Ours: mean ± half the 95 % t interval over clips. LPIPS and the distance need "
        "`--lpips-trunk`, `--lpips-heads` and `--feature-weights`.",
    )


def _motion_table(drawn: Mapping[str, Any]) -> Table:
    rows = [(name, f"{drawn['samples'][name]['1']['motion']:.2f}") for name in NAMES]
    return Table(
        title="Motion: mean absolute difference of neighbouring frames, of 255",
        columns=("clips", "motion"),
        rows=(*rows, ("real, held out", f"{drawn['real']['motion']:.2f}")),
    )


def _kept_claim(kept: Mapping[str, Any]) -> Claim:
    return Claim.answering(
        "ucf101-reconstruction",
        ours=(
            f"a small model on {kept['count']} panned clips at {kept['size']} px, "
            f"{kept['tokens']} tokens of {kept['channels']}: {kept_text(kept)}"
        ),
        verdict="not testable here",
    )


def _drawn_claim(drawn: Mapping[str, Any]) -> Claim:
    moves = ", ".join(f"{drawn['samples'][n]['1']['motion']:.1f} {n}" for n in NAMES)
    return Claim.answering(
        "ucf101-generation",
        ours=f"{drawn_text(drawn)}; motion {moves}, {drawn['real']['motion']:.1f} real",
        verdict="not testable here",
    )


# ---------------------------------------------------------------------- the paper's size


def _paper_table(ours: tuple[Cell, ...] | None) -> Table:
    return Table(
        title="Table 2: UCF101, 16 frames at 24 fps and 256 px, one level",
        columns=("system", "latent", "PSNR, dB", "rFVD", "gFVD", "gFVD, guided"),
        rows=(*PAPER, ours or ("ours", None, None, None, None, None)),
    )


def _paper_report(context: Context) -> Report:
    kept = context.result("rfvd")["values"][0]
    plain, guided = (context.result(f"gfvd-{name}")["values"][0]["frechet"] for name in NAMES)
    keeps = kept["psnr"] >= 28.55 - NEAR_PSNR and kept["frechet"] <= 17.51 * NEAR_DISTANCE
    draws = plain <= 452.99 * NEAR_DISTANCE and guided <= 86.87 * NEAR_DISTANCE
    return Report(
        tables=(_paper_table(("ours", "1024 x 16", kept["psnr"], kept["frechet"], plain, guided)),),
        claims=(
            Claim.answering(
                "ucf101-reconstruction",
                ours=f"PSNR {kept['psnr']:.2f}, rFVD {kept['frechet']:.2f}, 2048 clips",
                verdict=verdict(keeps),
            ),
            Claim.answering(
                "ucf101-generation",
                ours=f"gFVD {plain:.2f}, guided {guided:.2f}, 2048 clips of each",
                verdict=verdict(draws),
            ),
        ),
        notes=(
            f"Reproduced: PSNR at most {NEAR_PSNR} dB below the paper's, distances at most a tenth "
            "above them.",
        ),
    )
