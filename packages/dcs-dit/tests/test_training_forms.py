"""``dcs-dit train`` on every form of latents, from the cache to what is sampled."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcs_dit import DCSDiT, sample
from dcs_dit.config import LatentForm
from dcs_dit.data import LatentCache
from dcs_dit.data.latent_form import latent_form
from dcs_dit.sampling.msf import sample_msf
from dcs_dit.training.recipe import Recipe

from .labelled_files import ToyPosterior, class_folder, make_cache
from .small_dit import COMMAND_CONFIG, TOY_CACHE, fresh, refusal, small_recipe, trained

# Name, channels that the model makes, its grid.
FORMS: list[tuple[LatentForm, int, tuple[int, int, int]]] = [
    ("posterior-sample", 2, (1, 2, 4)),
    ("posterior-mean", 2, (1, 2, 4)),
    ("posterior-mean-std", 4, (1, 2, 4)),
    ("msf-base", 2, (1, 1, 2)),
    ("msf-residual", 2, (1, 2, 4)),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Posteriors of 17 pictures on 2 x 4 patches of 3 pixels."""
    folder = tmp_path_factory.mktemp("forms")
    config = replace(TOY_CACHE, size=(6, 12), patches=2)
    pictures, name = class_folder(folder / "pictures"), "toy-posterior"
    make_cache(folder / "cache", [pictures], config, tokenizer=ToyPosterior(), name=name)
    return folder / "cache"


def recipe_of(form: LatentForm, channels: int, **changes: Any) -> Recipe:
    beside = channels if form == "msf-residual" else 0
    noise = 0.1 if form == "msf-residual" else 0.0
    config = replace(
        COMMAND_CONFIG, latent_form=form, latent_channels=channels, condition_channels=beside
    )
    return small_recipe(config, condition_noise=noise, **changes)


@pytest.fixture(scope="module")
def models(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, DCSDiT]:
    """A model of each form, trained for two steps and validated."""
    folder = tmp_path_factory.mktemp("runs")
    for form, channels, _ in FORMS:
        trained(
            "--data", cache, "--validate", cache, "--output", folder / form, "--steps", 2,
            recipe=recipe_of(form, channels, validate_every=2),
        )  # fmt: skip
        assert "validation/squared_level_3" in (folder / form / "scalars.jsonl").read_text()
    return {form: DCSDiT.from_pretrained(folder / form / "model") for form, _, _ in FORMS}


@pytest.mark.parametrize(("form", "channels", "grid"), FORMS)
def test_a_model_carries_its_form_and_what_it_normalises_with(
    form: LatentForm,
    channels: int,
    grid: tuple[int, int, int],
    cache: Path,
    models: dict[str, DCSDiT],
) -> None:
    dit = models[form]
    assert (dit.config.latent_form, dit.config.latent_channels) == (form, channels)
    assert (dit.config.grid, dit.config.patch_pixels) == (grid, 3)
    expected = latent_form(form).statistics(LatentCache.open(cache), channels)
    pairs = [("latent", expected.tokens), ("condition", expected.condition)]
    for name, statistics in pairs[: 2 if form == "msf-residual" else 1]:
        assert torch.equal(getattr(dit, f"{name}_mean"), statistics.mean.float())
        assert torch.equal(getattr(dit, f"{name}_std"), statistics.std.float())


@pytest.mark.parametrize("form", [form for form, _, _ in FORMS if form != "msf-residual"])
def test_what_is_sampled_has_the_tokenizer_s_grid_and_channels(
    form: str, models: dict[str, DCSDiT]
) -> None:
    latents = sample(models[form], labels=["owl"], seeds=[1], steps=1)
    assert latents.tokens.shape == (1, 1, 2, 4, 3, 2)
    assert (latents.size, latents.tokenizer) == ((6, 12), "toy-1")


def test_base_and_residual_go_together(models: dict[str, DCSDiT]) -> None:
    pair = models["msf-base"], models["msf-residual"]
    *_, last = sample_msf(*pair, labels=["owl"], seeds=[1], steps=1, residual_steps=1)
    assert last.latents.tokens.shape == (1, 1, 2, 4, 3, 2)


def test_a_cache_of_another_kind(cache: Path, tmp_path: Path) -> None:
    run = ("--data", cache, "--output", tmp_path / "run")
    assert refusal(tmp_path, *run) == (
        "The form 'plain' needs a cache of tokens alone, but the cache was made with "
        "'toy-posterior'. Cache with the tokenizer itself, or choose a form of posteriors."
    )
    assert refusal(tmp_path, *run, recipe=recipe_of("posterior-mean", 4)) == (
        "The latents must have 3 levels or more of 4 channels, but the cache holds 3 of 2. Cache "
        "the latents of another tokenizer, or of more levels."
    )


def test_a_start_from_a_model_of_another_form(cache: Path, tmp_path: Path) -> None:
    """One of the two is at its default, which no file stores."""
    model = tmp_path / "model"
    labels = LatentCache.open(cache).label_names
    config = replace(COMMAND_CONFIG, labels=labels, tokenizer="toy-1")
    fresh(config).save_pretrained(model)
    run = ("--data", cache, "--output", tmp_path / "run", "--init-from", model)
    assert refusal(tmp_path, *run, recipe=recipe_of("posterior-mean", 2)) == (
        f"A run must start from a model of its own kind, but {model} differs in latent_form (plain "
        "there, posterior-mean here). Choose the model that the recipe names, or train without "
        "`--init-from`."
    )
