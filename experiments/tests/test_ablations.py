"""The ablations: what differs between their runs, what their verdicts follow from."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ablation_margin import MODES, decoder_recipe, losses_of, paper_recipe, tiny_recipe
from ablation_token_drop import paper_recipe as paper_drop_recipe
from ablation_token_drop import tiny_recipe as tiny_drop_recipe
from ablations.level_maps import LevelMaps, complexity_gain, levels_at_work, overlap
from ablations.level_measures import held_out_crops, level_deviations, psnr_by_levels
from dcs_common.levels import sample_level_map
from dcs_common.psnr import psnr
from dcs_common.training import TrainingResult
from dcs_tok import DCSTok
from dcs_tok.pictures import write_picture
from dcs_tok.training.recipe import LossWeights, Recipe
from dcs_tok.training.recipes import stage_3, stage_3_decoder
from dcs_tok.training.run import Inputs, train_tokenizer
from launching import Context, Options, Unfinished
from reports.ablation_margin import PAPER, Rows, claims
from reports.ablation_token_drop import claims as drop_claims
from systems.tokenizer_runs import run_tokenizer


def rows_of(std: dict[str, tuple[float, ...]], psnr: dict[str, tuple[float, ...]]) -> Rows:
    return {mode: {"std": std[mode], "psnr": psnr[mode]} for mode in MODES}


def test_the_rows_of_table_6_differ_in_denoising_and_margin_alone() -> None:
    base = LossWeights(perceptual=1.0)
    found = {mode: losses_of(mode, base, 0.001) for mode in MODES}
    assert [found[mode].denoise_std for mode in MODES] == [0, 3, 3, 3]
    assert [found[mode].margin_weight for mode in MODES] == [0, 0, 0.001, 0.001]
    assert [found[mode].margin for mode in MODES[2:]] == [0, 1]
    for losses in found.values():
        assert replace(losses, denoise_std=0, margin_weight=0, margin=1) == base


def test_the_papers_last_row_is_stage_3_and_its_decoder() -> None:
    recipe = paper_recipe("margin-1", seed=0)
    assert replace(recipe, name="stage-3") == stage_3()
    ending = decoder_recipe(recipe, steps=stage_3_decoder().training.steps)
    as_published = replace(ending, name="stage-3-decoder", starts_from="stage-3")
    assert as_published == stage_3_decoder()


def test_the_papers_own_figures_give_its_verdicts() -> None:
    verdicts = [claim.verdict for claim in claims([rows_of(PAPER["std"], PAPER["psnr"])] * 2)]
    assert verdicts == ["reproduced in sign"] * 4 + ["not testable here"]


@pytest.mark.parametrize(
    ("row", "value", "changed"),
    [("denoise", 1.0, 0), ("margin-0", 9.0, 1), ("margin-1", 0.1, 2)],
)
def test_one_seed_that_differs_is_enough_to_lose_a_verdict(
    row: str, value: float, changed: int
) -> None:
    std = PAPER["std"] | {row: (*PAPER["std"][row][:-1], value)}
    seeds = [rows_of(PAPER["std"], PAPER["psnr"]), rows_of(std, PAPER["psnr"])]
    assert claims(seeds)[changed].verdict != "reproduced in sign"
    assert claims(seeds[1:])[changed].verdict == "not reproduced"


@pytest.mark.parametrize(("mode", "expected"), [("keep", {4}), ("drop", {1, 2, 3, 4})])
def test_one_of_the_two_runs_drops_tokens(mode: str, expected: set[int]) -> None:
    for recipe in (tiny_drop_recipe(mode, 0), paper_drop_recipe(mode, 0)):
        levels = recipe.levels
        maps = sample_level_map(
            (64, 1, 8, 8),
            4,
            draw=levels.draw,
            weights=levels.weights,
            uniform_share=levels.uniform_share,
            full_share=levels.full_share,
            generator=torch.Generator().manual_seed(0),
        )
        assert set(maps.unique().tolist()) == expected


def test_maps_of_one_place_overlap_and_maps_apart_do_not() -> None:
    here, there = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    here[..., :8, :], there[..., 8:, :] = 1, 2
    assert overlap(maps(torch.stack([here, 3 * here]))) == pytest.approx(1)
    assert overlap(maps(torch.stack([here, there]))) == pytest.approx(0)
    half = here + there / 2
    assert overlap(maps(torch.stack([here, half]))) == pytest.approx(0.5)


def test_levels_are_counted_by_their_share_of_the_work() -> None:
    even, one = torch.ones(5, 2, 1, 8, 8), torch.zeros(5, 2, 1, 8, 8)
    one[2] = 0.3
    assert levels_at_work(maps(even)) == pytest.approx(5)
    assert levels_at_work(maps(one)) == pytest.approx(1)


def maps(residual: Tensor) -> LevelMaps:
    return LevelMaps(decoded=residual, distortion=residual, residual=residual)


def test_gain_where_the_picture_is_complex_correlates() -> None:
    pixels = torch.full((1, 3, 32, 32), 0.5)
    pixels[..., :16, :16] = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    complex_part, flat_part = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    complex_part[..., :16, :16] = 0.1
    flat_part[..., 16:, 16:] = 0.1
    nothing = torch.zeros_like(complex_part)
    right = maps(torch.stack([complex_part, nothing]))
    wrong = maps(torch.stack([flat_part, nothing]))
    assert complexity_gain(right, pixels, 2) > 0.9
    assert complexity_gain(wrong, pixels, 2) < 0


def test_dropping_is_judged_by_every_seed() -> None:
    drop = {"psnr": [20.0, 22.0, 23.0], "overlap": 0.8, "at work": 1.5, "complexity": 0.5}
    keep = {"psnr": [9.0, 12.0, 24.0], "overlap": 0.5, "at work": 2.7, "complexity": 0.1}
    good, bad = {"drop": drop, "keep": keep}, {"drop": keep, "keep": drop}
    assert {claim.verdict for claim in drop_claims([good, good])} == {"reproduced in sign"}
    assert [claim.verdict for claim in drop_claims([bad])] == [
        *("not reproduced", "not reproduced", "reproduced in sign"),
    ]
    assert drop_claims([good, bad])[1].verdict != "reproduced in sign"


def test_a_small_run_trains_resumes_and_is_measured(tmp_path: Path) -> None:
    photo = torch.rand(3, 80, 90, generator=torch.Generator().manual_seed(0))
    (tmp_path / "photos").mkdir()
    write_picture(tmp_path / "photos" / "a.png", photo)
    recipe = tiny_recipe("margin-1", seed=0, steps=2)
    recipe = replace(recipe, training=replace(recipe.training, batch_size=2))
    inputs = Inputs(data=(tmp_path / "photos",))
    assert train_tokenizer(recipe, inputs, tmp_path / "run").finished
    ending = decoder_recipe(recipe, steps=1)
    inputs = replace(inputs, init_from=str(tmp_path / "run" / "model"))
    assert train_tokenizer(ending, inputs, tmp_path / "decoder").finished
    tok = DCSTok.from_pretrained(tmp_path / "decoder" / "model")
    crops = held_out_crops([tmp_path / "photos"], 64, count=3)
    assert crops.shape == (3, 3, 64, 64)
    before = DCSTok.from_pretrained(tmp_path / "run" / "model").encode(crops)
    assert torch.equal(tok.encode(crops).tokens, before.tokens)  # the encoder was frozen
    expected = before.tokens.flatten(0, 3).var(dim=0, correction=0).mean(dim=1).sqrt()
    assert level_deviations(tok, crops) == pytest.approx(expected.tolist(), rel=1e-4)
    with torch.no_grad():
        decoded = tok.decode(before, levels=2)
    by_hand = sum(psnr(a, b) for a, b in zip(decoded, crops, strict=True)) / 3
    assert psnr_by_levels(tok, crops)[1] == pytest.approx(by_hand, abs=1e-3)


@pytest.mark.parametrize(("pictures", "count"), [(3, 7), (9, 4)])
def test_crops_of_a_zip_are_those_of_its_folder_and_of_all_its_parts(
    pictures: int, count: int, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(pictures):
        write_picture(folder / f"{number}.png", torch.full((3, 20, 30), number / 10))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    crops = held_out_crops([folder], 16, count)
    assert torch.equal(held_out_crops([tmp_path / "photos.zip"], 16, count), crops)
    shown = (10 * crops.mean(dim=(1, 2, 3))).round().int().tolist()
    assert shown == ([0, 0, 0, 1, 1, 1, 2] if pictures == 3 else [0, 2, 4, 6])


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as refusal:
        held_out_crops([tmp_path], 64)
    assert str(refusal.value) == (
        "Pictures to measure on must be PNG, JPEG or WebP files, but there are none in "
        f"{tmp_path}. Name other folders with `--held-out`."
    )


@pytest.mark.parametrize(("preset", "recomputes"), [("tiny", False), ("paper", True)])
def test_the_papers_size_is_trained_as_it_is_planned(
    preset: str, recomputes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Inputs] = []

    def train(recipe: Recipe, inputs: Inputs, folder: Path) -> TrainingResult:
        given.append(inputs)
        model = torch.nn.Identity()
        return TrainingResult(step=3, finished=False, samples=6, seconds=1.0, model=model)

    monkeypatch.setattr("dcs_tok.training.run.train_tokenizer", train)
    options = Options(preset=preset, lpips_trunk="trunk.pth", lpips_heads="heads.pth")
    context = Context(stage="train", run=tmp_path, options=options)
    recipe = tiny_recipe("plain", 0, steps=9)
    with pytest.raises(Unfinished, match=r"^at step 3 of 9$"):
        run_tokenizer(context, recipe, tmp_path, data=("photos",), init_from=tmp_path / "model")
    (inputs,) = given
    assert inputs.checkpoint_activations is recomputes
    assert (inputs.trunk_weights, inputs.perceptual_heads) == (Path("trunk.pth"), Path("heads.pth"))
    assert (inputs.data, inputs.init_from) == (("photos",), str(tmp_path / "model"))
