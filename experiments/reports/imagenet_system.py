"""Table 1 with what was measured here, and its two verdicts."""

from collections.abc import Mapping
from typing import Any

from launching import Context
from records import Claim, Picture, Report, Table
from records.report import Cell
from systems.sample_measures import sample_sheet
from systems.system_tables import (
    NAMES,
    drawn_table,
    drawn_text,
    kept_rows,
    kept_text,
    pairs_picture,
    verdict,
)

METRICS = ("PSNR, dB", "SSIM", "rFID", "gFID", "IS", "gFID, guided", "IS, guided")
PAPER: tuple[tuple[Cell, ...], ...] = (
    ("DiT / SD-VAE", "1024 x 4", 26.04, 0.834, 0.62, 9.62, 121.5, 2.77, 278.2),
    ("SiT / SD-VAE", "1024 x 4", 26.04, 0.834, 0.62, 8.61, 131.7, 2.06, 270.3),
    ("LightningDiT / VA-VAE", "256 x 32", 26.30, 0.846, 0.28, 2.17, 205.6, 1.35, 295.3),
    ("FlexTok", "256 x 6", "-", "-", 1.45, 2.50, "-", 1.86, "-"),
    ("paper", "256 x 16", 26.91, 0.778, 0.90, 7.68, 111.4, 2.50, 281.8),
)
"""Table 1, as far as rivals of the same kind go."""
NEAR_PSNR, NEAR_DISTANCE = 0.5, 1.1
"""On a par with the paper: at most half a decibel below, or a tenth above a distance."""


def report(context: Context) -> Report:
    """Report whichever preset ran."""
    if context.options.preset == "paper":
        return _paper_report(context)
    kept, drawn = context.result("reconstruct"), context.result("measure")
    return Report(
        tables=(_kept_table(kept), drawn_table(drawn), _paper_table(None)),
        claims=(_kept_claim(kept), _drawn_claim(drawn)),
        pictures=(
            pairs_picture(context, "dcs-tok-nano", kept),
            *_samples_pictures(context),
        ),
        notes=(
            "ImageNet, the Inception network and models of the paper's size are not here: the "
            "figures beside the paper's are of other pictures and much smaller models. The small "
            "generator is that of train_dit.py, on its first level alone.",
            f"Distances of samples are squared Fréchet distances on {drawn['space']}, never FID.",
        ),
    )


# ---------------------------------------------------------------------- the small form


def _kept_table(kept: Mapping[str, Any]) -> Table:
    rows = kept_rows(kept, "photos")
    rows += [(f"{row[0]}, ImageNet", *row[1:4], "-", "-") for row in PAPER if row[2] != "-"]
    return Table(
        title=f"Reconstruction from one level, {kept['size']} px",
        columns=("tokenizer", "latent", "PSNR, dB", "SSIM", "LPIPS", "distance on SqueezeNet"),
        rows=tuple(rows),
        note="Ours: mean ± half the 95 % t interval over photos. LPIPS and the distance need "
        "`--lpips-trunk`, `--lpips-heads` and `--feature-weights`.",
    )


def _kept_claim(kept: Mapping[str, Any]) -> Claim:
    return Claim.answering(
        "imagenet-reconstruction",
        ours=(
            f"small models on {kept['count']} photos at {kept['size']} px, "
            f"{kept['tokens']} tokens of {kept['channels']}: {kept_text(kept)}"
        ),
        verdict="not testable here",
    )


def _drawn_claim(drawn: Mapping[str, Any]) -> Claim:
    return Claim.answering(
        "imagenet-generation",
        ours=drawn_text(drawn),
        verdict="not testable here",
    )


def _samples_pictures(context: Context) -> tuple[Picture, ...]:
    """Return a sheet of samples with and without guidance."""
    return tuple(
        Picture(
            name=f"samples-{name}",
            pixels=sample_sheet(context.run / "samples" / name, 1, 4),
            caption=f"Samples of one level, {name}, a class in each row.",
        )
        for name in NAMES
    )


# ---------------------------------------------------------------------- the paper's size


def _paper_table(ours: tuple[Cell, ...] | None) -> Table:
    last: tuple[Cell, ...] = ("ours", *([None] * (1 + len(METRICS)))) if ours is None else ours
    return Table(
        title="Table 1: ImageNet at 256 px, one level",
        columns=("system", "latent", *METRICS),
        rows=(*PAPER, last),
    )


def _paper_report(context: Context) -> Report:
    kept = context.result("rfid")["values"][0]
    drawn = {name: context.result(f"gfid-{name}")["values"][0] for name in NAMES}
    plain, guided = drawn["unguided"], drawn["guided"]
    ours = (
        *("ours", "256 x 16", kept["psnr"], kept["ssim"], kept["frechet"]),
        *(plain["frechet"], plain["score"]["mean"]),
        *(guided["frechet"], guided["score"]["mean"]),
    )
    keeps = kept["psnr"] >= 26.91 - NEAR_PSNR and kept["frechet"] <= 0.90 * NEAR_DISTANCE
    draws = plain["frechet"] <= 7.68 * NEAR_DISTANCE and guided["frechet"] <= 2.50 * NEAR_DISTANCE
    return Report(
        tables=(_paper_table(ours),),
        claims=(
            Claim.answering(
                "imagenet-reconstruction",
                ours=(
                    f"PSNR {kept['psnr']:.2f}, SSIM {kept['ssim']:.3f}, rFID {kept['frechet']:.2f}"
                ),
                verdict=verdict(keeps),
            ),
            Claim.answering(
                "imagenet-generation",
                ours=(
                    f"gFID {plain['frechet']:.2f}, IS {plain['score']['mean']:.1f} ± "
                    f"{plain['score']['deviation']:.1f}; guided {guided['frechet']:.2f}, "
                    f"{guided['score']['mean']:.1f} ± {guided['score']['deviation']:.1f}"
                ),
                verdict=verdict(draws),
            ),
        ),
        notes=(
            f"Reproduced: PSNR at most {NEAR_PSNR} dB below the paper's, distances at most a tenth "
            "above them.",
        ),
    )
