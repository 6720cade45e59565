"""Figures 6 and 7: the law with its bounds, content against scale, the couplings, the verdicts."""

import re
import zipfile
from dataclasses import replace
from math import exp, log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from costs.paper_scale import PAPER_TOKENIZER
from dcs_common.psnr import psnr
from dcs_eval.mean_interval import MeanInterval
from dcs_tok import DCSTok
from dcs_tok.pictures import write_picture
from dcs_tok.training.recipes import tiny
from dcs_tok.training.run import Inputs, train_tokenizer
from launching import Options
from reports.complexity_and_scale import laws, report
from scaling.capacity_law import Capacity, CapacityLaw, capacity_for, fit_capacity_law
from scaling.content import (
    difference_of_means,
    large_simple_over_small_complex,
    rank_correlation,
    rank_interval,
    variance_shares,
)
from scaling.curves import Curve, common_scales, measure_curve
from scaling.models import load_tokenizer
from scaling.rivals import RIVALS, paper_rival, per_doubling, tiny_rival
from scaling.samples import samples
from scaling.verdict_of_interval import verdict_above, verdict_below

SIDES = (64, 128, 256, 512)


def drawn(exponent: float, noise: float, seed: int, names: int = 9) -> list[Capacity]:
    """Draw tokens around a law, and keep of those below 200 and above 2000 the bound alone."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for name in range(names):
        own = log(600) + 0.6 * float(torch.randn((), generator=generator))
        for side in SIDES:
            error = noise * float(torch.randn((), generator=generator))
            tokens = exp(own + exponent * log(side**2 / 180**2) + error)
            known = "exactly" if 200 < tokens < 2000 else ("more" if tokens > 2000 else "at most")
            bounded = min(2000.0, max(200.0, tokens))
            found.append(
                Capacity(sample=str(name), scale=side**2, tokens=bounded, known=known)  # type: ignore[arg-type]
            )
    return found


def fitted(measured: list[Capacity]) -> CapacityLaw:
    law = fit_capacity_law(measured)
    assert law is not None
    return law


# ---------------------------------------------------------------------- the law


def test_tokens_between_level_counts_are_interpolated_and_beyond_them_bounded() -> None:
    curve = (20.0, 24.0, 26.0)
    assert capacity_for("a", 9, curve, 23.0, 16).tokens == 1.75 * 16
    assert capacity_for("a", 9, curve, 24.0, 16).tokens == 2 * 16
    assert capacity_for("a", 9, curve, 26.0, 16).known == "exactly"
    at_most = capacity_for("a", 9, curve, 19.0, 16)
    assert (at_most.tokens, at_most.known) == (16, "at most")
    more = capacity_for("a", 9, curve, 26.1, 16)
    assert (more.tokens, more.known) == (48, "more")


def test_an_exact_law_is_found_exactly() -> None:
    measured = [
        Capacity(sample=name, scale=side**2, tokens=c * side**1.3, known="exactly")
        for name, c in (("a", 1.0), ("b", 7.0), ("c", 0.3))
        for side in SIDES
    ]
    law = fitted(measured)
    assert law.exponent == pytest.approx(0.65, abs=1e-9)
    assert law.half_width < 1e-6
    assert (law.samples, law.exact, law.at_most, law.more) == (3, 12, 0, 0)


def test_without_bounds_it_is_least_squares_within_samples_and_students_jackknife() -> None:
    measured = [replace(one, known="exactly") for one in drawn(0.6, 0.2, seed=1, names=4)]
    slopes, spreads = [], []
    for name in "0123":
        own = [one for one in measured if one.sample == name]
        x = torch.tensor([log(one.scale) for one in own], dtype=torch.float64)
        y = torch.tensor([log(one.tokens) for one in own], dtype=torch.float64)
        spreads.append(float((x - x.mean()).square().sum()))
        slopes.append(float(((x - x.mean()) * y).sum()))
    law = fitted(measured)
    assert law.exponent == pytest.approx(sum(slopes) / sum(spreads), abs=1e-9)
    without = [
        (sum(slopes) - slope) / (sum(spreads) - spread)
        for slope, spread in zip(slopes, spreads, strict=True)
    ]
    mean = sum(without) / 4
    error = (3 / 4 * sum((one - mean) ** 2 for one in without)) ** 0.5
    assert law.half_width == pytest.approx(3.182446 * error, rel=1e-5)  # t(0.975, 3)


def test_bounds_enter_as_bounds_and_leaving_them_out_would_bend_the_law() -> None:
    fits, left_out = [], []
    for seed in range(12):
        measured = drawn(0.9, 0.3, seed)
        fits.append(fitted(measured))
        left_out.append(fitted([one for one in measured if one.known == "exactly"]).exponent)
    assert all(law.at_most and law.more for law in fits)
    mean = sum(law.exponent for law in fits) / 12
    assert mean == pytest.approx(0.9, abs=0.05)
    assert sum(left_out) / 12 < mean - 0.05
    assert sum(abs(law.exponent - 0.9) < law.half_width for law in fits) >= 10


def test_samples_that_are_bounds_everywhere_are_counted_and_say_nothing() -> None:
    measured = drawn(0.6, 0.1, seed=3)
    law = fitted(measured)
    easy = [Capacity(sample="easy", scale=s, tokens=200, known="at most") for s in SIDES]
    with_easy = fitted([*measured, *easy])
    assert with_easy.left_out == law.left_out + 1
    assert replace(with_easy, left_out=0) == replace(law, left_out=0)
    assert fit_capacity_law([*measured[:8], *easy]) is None  # of two samples


# ---------------------------------------------------------------------- content


def curves_of(levels: int = 2) -> list[Curve]:
    """Return curves whose PSNR is a sum of content, side and levels."""
    return [
        Curve(
            sample=name,
            scale=side,
            amount=side**2,
            patches=256,
            psnr=tuple(base - drop + 3 * m for m in range(levels)),
        )
        for name, base in (("a", 40.0), ("b", 34.0), ("c", 30.0), ("d", 24.0))
        for side, drop in ((64, 0.0), (128, 2.0), (256, 4.0))
    ]


def test_shares_of_variance_follow_from_means() -> None:
    shares = variance_shares(curves_of(), levels=1)
    content, scale = (8**2 + 2**2 + 2**2 + 8**2) / 4, (2**2 + 2**2) / 3
    assert shares.content == pytest.approx(content / (content + scale))
    assert shares.scale == pytest.approx(scale / (content + scale))
    assert shares.rest == pytest.approx(0, abs=1e-12)


def test_only_scales_that_all_samples_have_are_compared() -> None:
    curves = [*curves_of(), replace(curves_of()[0], scale=512)]
    assert common_scales(curves) == [64, 128, 256]
    assert variance_shares(curves, 1) == variance_shares(curves_of(), 1)


def test_large_simple_samples_are_compared_with_small_complex_ones() -> None:
    complexity = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    found = large_simple_over_small_complex(curves_of(), complexity, 1, large=256, small=64)
    assert (found.difference.mean, found.better, found.pairs) == (40 - 4 - 24, 1, 1)
    other = {name: -value for name, value in complexity.items()}
    turned = large_simple_over_small_complex(curves_of(), other, 1, large=256, small=64)
    assert (turned.difference.mean, turned.better) == (24 - 4 - 40, 0)


def test_the_difference_of_means_is_welchs() -> None:
    from scipy.stats import ttest_ind

    first, second = [38.0, 33.0, 30.5, 28.0], [28.0, 24.5, 24.0]
    found = difference_of_means(first, second)
    low, high = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert found.half_width is not None
    assert found.mean - found.half_width == pytest.approx(low)
    assert found.mean + found.half_width == pytest.approx(high)
    assert difference_of_means([1.0], [2.0, 3.0]).half_width is None


def test_rank_correlation_sees_order_alone() -> None:
    assert rank_correlation([1, 10, 100], [-3, -2, 7]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [9, 4, 3, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(0.8)
    low, high = rank_interval(-0.8, 12)
    assert -0.95 < low < -0.8 < high < -0.4
    assert rank_interval(0.9, 3) == (-1, 1)


def test_an_interval_that_holds_the_bound_is_no_verdict() -> None:
    def interval(mean: float, half_width: float | None) -> MeanInterval:
        return MeanInterval(mean=mean, half_width=half_width)

    assert verdict_above(interval(1.0, 0.9)) == "reproduced in sign"
    assert verdict_above(interval(1.0, 1.1)) == "not testable here"
    assert verdict_above(interval(-1.0, 0.9)) == "not reproduced"
    assert verdict_above(interval(1.0, None)) == "not testable here"
    assert verdict_below(interval(0.6, 0.3), 1) == "reproduced in sign"
    assert verdict_below(interval(1.4, 0.3), 1) == "not reproduced"
    assert verdict_below(None, 1) == "not testable here"


# ---------------------------------------------------------------------- measuring


def test_a_curve_is_what_decoding_each_level_count_gives() -> None:
    tok = DCSTok.from_pretrained()
    pixels = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    curve = measure_curve(tok, "noise", 32, pixels)
    latents = tok.encode(pixels)
    decoded = [psnr(tok.decode(latents, levels=m), pixels) for m in (1, 5)]
    assert [curve.psnr[0], curve.psnr[4]] == pytest.approx(decoded, abs=1e-3)
    assert (curve.amount, curve.patches, len(curve.psnr)) == (32 * 48, 16 * 24, 8)
    again = Curve.from_json(curve.to_json())
    assert again.psnr == pytest.approx(curve.psnr, abs=1e-4)
    assert replace(again, psnr=curve.psnr) == curve


def test_too_few_large_photos_are_refused(tmp_path: Path) -> None:
    for name in "abc":
        write_picture(tmp_path / f"{name}.png", torch.rand(3, 384, 400))
    write_picture(tmp_path / "small.png", torch.rand(3, 90, 900))
    message = (
        "At least 4 photos must have 384 px or more on the short side, but 3 have. Name folders of "
        "larger ones with `--held-out`."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        samples(Options(held_out=(str(tmp_path),)))


def test_samples_of_a_zip_are_those_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for number in range(4):
            generator = torch.Generator().manual_seed(number)
            write_picture(folder / f"{number}.png", torch.rand(3, 384, 390, generator=generator))
            archive.write(folder / f"{number}.png", f"below/{number}.png")
    plain, zipped = (
        samples(Options(held_out=(str(place),))) for place in (folder, tmp_path / "photos.zip")
    )
    assert [one.name for one in zipped] == [one.name for one in plain] == ["0", "1", "2", "3"]
    for one, other in zip(zipped, plain, strict=True):
        assert torch.equal(one.pixels, other.pixels)


def test_the_papers_model_is_asked_for_by_the_experiment_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = (
        f"The model must be there, but {PAPER_TOKENIZER} is not. Run `python "
        "experiments/train_tokenizer.py --preset paper` first, from the same folder."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_tokenizer(PAPER_TOKENIZER, "cpu")


# ---------------------------------------------------------------------- the couplings


def test_rivals_differ_in_how_tokens_follow_the_side() -> None:
    for make in (lambda kind: tiny_rival(kind, 0, 10), lambda kind: paper_rival(kind, 0)):
        models = {kind: make(kind).model for kind in RIVALS}
        counts = {
            kind: [m.num_levels * m.patches_of((side, side)) ** 2 for side in (128, 256)]
            for kind, m in models.items()
        }
        assert counts["vanilla"][1] == 4 * counts["vanilla"][0]
        assert counts["fixed"][1] == counts["fixed"][0]
        assert counts["dcs"][1] == counts["dcs"][0] == 8 * counts["fixed"][0]
        as_dcs = {kind: replace(m, num_levels=8, patch_pixels=None) for kind, m in models.items()}
        assert as_dcs["vanilla"] == as_dcs["fixed"] == as_dcs["dcs"]


@pytest.mark.parametrize("kind", RIVALS)
def test_a_shrunken_rival_of_the_papers_size_trains(kind: str, tmp_path: Path) -> None:
    write_picture(tmp_path / "photo.png", torch.rand(3, 64, 64))
    recipe = tiny(paper_rival(kind, 0))
    recipe = replace(
        recipe,
        losses=replace(recipe.losses, perceptual=0.0),
        training=replace(recipe.training, steps=1, batch_size=1, precision="float32"),
    )
    inputs = Inputs(data=(tmp_path / "photo.png",))
    assert train_tokenizer(recipe, inputs, tmp_path / "run").finished
    tok = DCSTok.from_pretrained(tmp_path / "run" / "model")
    assert tok.config.num_levels == (8 if kind == "dcs" else 1)
    rows = [tok.encode(torch.rand(1, 3, side, side)).grid[1] for side in (32, 64)]
    assert rows == ([2, 4] if kind == "vanilla" else [4, 4])


def test_a_doubling_is_the_slope_within_each_photo() -> None:
    at_sides = {
        "64": {"tokens": 16.0, "psnr": {"a": 20.0, "b": 30.0}},
        "128": {"tokens": 64.0, "psnr": {"a": 21.0, "b": 33.0}},
    }
    found = per_doubling(at_sides)
    assert found is not None
    assert found.mean == 2.0


# ---------------------------------------------------------------------- the verdicts


def made_up(tmp_path: Path, exponent: float, vanilla: float, fixed: float) -> Any:
    """Return a context whose stages gave curves of a law and changes per doubling."""
    complexity = {name: float(i + 1) for i, name in enumerate("abcdef")}
    pictures, clips = [], []
    for i, name in enumerate(complexity):
        for side in SIDES:
            # PSNR is linear in log tokens, and falls with pixels so that the law holds exactly.
            tokens = [256 * m for m in range(1, 9)]
            values = [45 - 4 * i + 10 * log(t / side ** (2 * exponent)) for t in tokens]
            curve = Curve(sample=name, scale=side, amount=side**2, patches=256, psnr=tuple(values))
            pictures.append(curve.to_json())
        for rate in (12, 24, 48):
            values = [40 - i + 3 * m - 0.01 * rate for m in range(8)]
            curve = Curve(sample=name, scale=rate, amount=rate, patches=768, psnr=tuple(values))
            clips.append(curve.to_json())

    def coupling(change: float, tokens: tuple[int, int]) -> dict[str, Any]:
        return {
            side: {"tokens": count, "psnr": {n: 25 + i + change * k for i, n in enumerate("abc")}}
            for k, (side, count) in enumerate(zip(("64", "128"), tokens, strict=True))
        }

    comparison = {
        "dcs": {"1": coupling(fixed, (64, 64)), "8": coupling(fixed, (512, 512))},
        "vanilla": {"1": coupling(vanilla, (16, 64))},
        "fixed": {"1": coupling(fixed, (64, 64))},
    }
    results = {
        "measure-pictures": {"curves": pictures, "complexity": complexity},
        "measure-clips": {"curves": clips},
        "compare-rivals": {"held out": ["a", "c"], "rivals": comparison},
    }
    torch.save({name: torch.rand(3, 8, 8) for name in complexity}, tmp_path / "thumbnails.pt")
    return SimpleNamespace(
        result=results.__getitem__, folder_of=lambda stage: tmp_path, options=Options()
    )


@pytest.mark.parametrize(
    ("exponent", "vanilla", "fixed", "verdicts"),
    [
        (0.5, 1.0, -2.0, ("reproduced in sign",) * 4),
        (1.2, -1.0, 2.0, ("not reproduced", "reproduced in sign") + ("not reproduced",) * 2),
    ],
)
def test_verdicts_follow_from_what_was_measured(
    tmp_path: Path, exponent: float, vanilla: float, fixed: float, verdicts: tuple[str, ...]
) -> None:
    found = report(made_up(tmp_path, exponent, vanilla, fixed))
    assert tuple(claim.verdict for claim in found.claims[:4]) == verdicts
    assert found.claims[4].verdict == "reproduced in sign"  # simple content is better
    rising = "up for 2 of 2 held-out photos" if vanilla > 0 else "up for 0 of 2 held-out photos"
    assert rising in found.claims[2].ours and "of 1 trained-on photos" in found.claims[2].ours
    assert {plot.name for plot in found.plots} == {
        "pictures",
        "law",
        "content",
        "couplings",
        "clips",
    }


def test_the_law_of_made_up_curves_is_the_one_they_were_made_of(tmp_path: Path) -> None:
    results = made_up(tmp_path, 0.5, 1.0, -1.0).result("measure-pictures")
    found = laws([Curve.from_json(one) for one in results["curves"]], 256)
    assert found["own"] is not None
    assert found["own"].exponent == pytest.approx(0.5, abs=0.03)  # PSNR is not linear in levels
