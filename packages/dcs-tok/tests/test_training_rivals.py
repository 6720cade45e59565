"""The rivals of Fig. 1 are recipes: the networks, data and budget of DCS, another code."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcs_common.training import Share, sample_generators
from dcs_tok import DCSTok
from dcs_tok.data import ScaleConfig
from dcs_tok.losses.kl import kl_loss
from dcs_tok.losses.margin import margin_loss
from dcs_tok.losses.reconstruction import reconstruction_loss
from dcs_tok.posterior import draw_latents
from dcs_tok.training import RECIPES, LossWeights, Recipe, TokenizerTask
from dcs_tok.training.plan import largest_geometry, plan
from dcs_tok.training.recipes import tiny

from .commands import Command
from .errors import error
from .tiny_models import CHANNELS, CONFIGS, perturbed
from .training_runs import batch, gradients, part, photos, recipe

RIVALS = ("nano-vanilla", "nano-fixed", "nano-kl")
OF_8_PATCHES = ("nano-dcs", "nano-fixed", "nano-kl")
CLOSE = {"rtol": 0, "atol": 1e-9}


def _task(losses: LossWeights, **training: object) -> TokenizerTask:
    config = replace(CONFIGS["nano"](), posterior=True)
    return TokenizerTask(perturbed(config).train(), recipe(config, losses, **training))


def _loss(task: TokenizerTask, step: int, start: int = 0, stop: int = 4) -> dict:
    samples = part(batch(4), start, stop)
    ((_, loss, scalars),) = task.losses(samples, Share(step, start, stop, 4), task.networks)
    loss.backward()
    return {"loss": loss.detach(), **scalars}


# ------------------------------------------------------------------ recipes


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_differs_in_its_code_alone(name: str) -> None:
    dcs, rival = RECIPES["nano-dcs"](), RECIPES[name]()
    assert rival.training == dcs.training
    assert rival.levels == dcs.levels
    assert replace(rival.scales, patch_pixels=None) == dcs.scales
    assert replace(rival.losses, kl=0.0) == dcs.losses
    same = replace(rival.model, num_levels=8, patch_pixels=None, posterior=False)
    assert same == dcs.model
    assert rival.model.num_levels == 1
    assert (name == "nano-vanilla") == (rival.model.patch_pixels == 16)
    assert (name == "nano-kl") == rival.model.posterior == (rival.losses.kl > 0)


@pytest.mark.parametrize(
    ("name", "patches"), [*((name, 8) for name in OF_8_PATCHES), ("nano-vanilla", 16)]
)
def test_the_largest_scale_of_a_rival_has_its_patches(name: str, patches: int) -> None:
    for wanted, side in ((RECIPES[name](), 256), (tiny(RECIPES[name]()), 64)):
        largest = largest_geometry(wanted)
        assert (largest.size, largest.kind) == ((side, side), "picture")
        assert largest.patches == (patches if side == 256 else 4)


def test_the_plan_of_a_model_with_variances() -> None:
    """Its losses run on tokens of two halves."""
    said = plan(RECIPES["nano-kl"](), device="meta")
    assert "nano-kl: 1000 steps of 16" in said
    column = next(line for line in said.splitlines() if line.startswith("| latent tokens, mean |"))
    assert column.endswith("| 64 of 64 |")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scales": ScaleConfig(short_sides=(24,), patch_pixels=8)},
            "`patch_pixels` must be one number in a recipe's model and scales, but is None and 8. "
            "Change one of them.",
        ),
        (
            {"losses": LossWeights(kl=0.5)},
            "`kl` must be 0 for a model without `posterior`, but is 0.5. Its latents have no "
            "variance to measure.",
        ),
        (
            {"model": replace(CONFIGS["nano"](), posterior=True), "losses": LossWeights(rate=0.5)},
            "`rate` must be 0 and `initial_latent_std` None for a model with `posterior`, but are "
            "0.5 and None. Its latents have a deviation of their own.",
        ),
        (
            {"model": replace(CONFIGS["nano"](), posterior=True), "initial_latent_std": 2.7},
            "`rate` must be 0 and `initial_latent_std` None for a model with `posterior`, but are "
            "0.0 and 2.7. Its latents have a deviation of their own.",
        ),
        (
            {"model": replace(CONFIGS["nano"](), patch_pixels=8)},
            "`patch_pixels` must be one number in a recipe's model and scales, but is 8 and None. "
            "Change one of them.",
        ),
    ],
)
def test_recipes_whose_parts_do_not_belong_together(
    change: dict[str, object], message: str
) -> None:
    with error(message):
        replace(recipe("nano"), **change)


def test_a_weight_of_the_divergence_below_zero() -> None:
    with error("`kl` must be 0 or more, but is -1.0. 0 leaves it out."):
        LossWeights(kl=-1.0)


# ------------------------------------------------------------------ steps


def test_a_step_decodes_draws_and_weighs_the_divergence_of_all_means() -> None:
    task, samples = _task(LossWeights(kl=0.3, margin_weight=0.5, margin=0.2)), batch(4)
    seen = _loss(task, 3)
    share = Share(3, 0, 4, 4)
    latents = task.tok.latents_of(samples.pixels, None, task._level_map(samples, share), 3)
    assert latents.tokens.shape[5] == 2 * CHANNELS
    chance = sample_generators(task.recipe.training.seed, share, "posterior")
    drawn = replace(latents, tokens=draw_latents(latents.tokens, latents.levels, chance))
    parts = {
        "reconstruction": reconstruction_loss(task.tok.reconstruct(drawn), samples.target, "l2"),
        "kl": kl_loss(latents.tokens, latents.levels),
        "margin": margin_loss(latents.tokens[..., :CHANNELS], latents.levels, 0.2),
    }
    for name, value in parts.items():
        torch.testing.assert_close(seen[name], value.detach(), **CLOSE)
    total = parts["reconstruction"] + 0.3 * parts["kl"] + 0.5 * parts["margin"]
    torch.testing.assert_close(seen["loss"], total.detach(), **CLOSE)


@pytest.mark.parametrize("denoise_std", [0.0, 3.0])
def test_draws_are_the_same_in_any_division_and_fresh_at_every_step(denoise_std: float) -> None:
    losses = LossWeights(denoise_std=denoise_std)  # the mean over samples of the squared error
    whole, halves = _task(losses), _task(losses)
    first = _loss(whole, 3)
    for start in (0, 2):
        _loss(halves, 3, start, start + 2)
    expected, found = gradients(whole.tok), gradients(halves.tok)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name] / 2, gradient, **CLOSE)
    assert _loss(_task(losses), 3)["loss"] == first["loss"]
    other = _task(losses, seed=1)
    assert _loss(other, 3)["loss"] != first["loss"]


def test_without_variance_a_step_is_that_of_the_means() -> None:
    """What a draw adds to the error is its noise: none at the least deviation there is."""
    task = _task(LossWeights())
    with torch.no_grad():
        head = task.tok.encoder_networks["still"].tokens_out
        head.weight.unflatten(0, (-1, 2, CHANNELS))[:, 1] = 0
        head.bias.unflatten(0, (-1, 2, CHANNELS))[:, 1] = -100
    samples = batch(4)
    latents = task.tok.encode(samples.pixels, None, task._level_map(samples, Share(0, 0, 4, 4)), 3)
    expected = reconstruction_loss(task.tok.reconstruct(latents), samples.target, "l2")
    torch.testing.assert_close(
        _loss(task, 0)["reconstruction"], expected.detach(), atol=1e-6, rtol=0
    )


# ------------------------------------------------------------------ runs


def _shortest(name: str) -> Recipe:
    """The tiny form in even fewer and smaller steps; what is asked for stays."""
    small = tiny(RECIPES[name]())
    return replace(
        small,
        scales=replace(small.scales, short_sides=(32,), patches=(2,)),
        training=replace(small.training, steps=2, batch_size=2, validate_every=0, images_every=0),
    )


@pytest.mark.parametrize("name", [*RIVALS, "nano-dcs"])
def test_a_rival_trains_by_the_command(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortest = _shortest(name)
    monkeypatch.setitem(RECIPES, name, lambda: shortest)
    data, out = photos(tmp_path / "photos"), tmp_path / "run"
    finished = command("train", name, "--data", data, "--output", out)
    assert finished.code == 0, finished.err
    tok = DCSTok.from_pretrained(out / "model")
    assert tok.config == RECIPES[name]().model
    statistics = json.loads((out / "model" / "latent_statistics.json").read_text())
    assert torch.tensor(statistics["std"]).shape == (tok.config.num_levels, 16)
    assert statistics["tokens"][0] == 2 * 2 * 2 * 2  # steps, samples, rows and columns
    said = command.line("info", out / "model")
    expected = {
        "nano-vanilla": "1 levels of 16 channels, 16 px patches",
        "nano-fixed": "1 levels of 16 channels, k = 8",
        "nano-kl": "1 levels of 16 channels with variances, k = 8",
        "nano-dcs": "8 levels of 16 channels, k = 8",
    }
    assert expected[name] in said
