"""Starting from weights that are there, and what is measured at the end."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dcs_tok import DCSTok
from dcs_tok.training.initialise import initialise
from dcs_tok.training.latent_statistics import LatentStatistics

from .errors import error
from .tiny_models import CONFIGS, LEVELS, fresh, perturbed, random_levels, random_pixels


@pytest.mark.parametrize("name", ["paper", "own_pixels", "nano"])
def test_a_run_starts_from_a_model_of_its_kind(name: str, tmp_path: Path) -> None:
    perturbed(CONFIGS[name](), torch.float32).save_pretrained(tmp_path)
    tok = fresh(CONFIGS[name](), seed=3)
    assert initialise(tok, tmp_path) == f"started from {tmp_path}"
    there = DCSTok.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(value, there[key]) for key, value in tok.state_dict().items())


@pytest.mark.parametrize("name", ["paper", "own_pixels"])
def test_new_levels_grow_beside_the_trained_ones(name: str, tmp_path: Path) -> None:
    """Stage 2: the old levels encode and decode as before."""
    config = CONFIGS[name]()
    old = perturbed(replace(config, num_levels=3), torch.float32)
    old.save_pretrained(tmp_path)
    tok = fresh(config, seed=3).eval()
    said = initialise(tok, tmp_path, grows_levels=True)
    assert said == f"started from {tmp_path}, grown from 3 levels to {LEVELS}"
    pixels = random_pixels(1, 3, 13, 17, dtype=torch.float32)
    expected = old.encode(pixels)
    found = tok.encode(pixels)
    torch.testing.assert_close(found.take_levels(3).tokens, expected.tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(tok.decode(found, levels=3), old.decode(expected))
    fresh_tokens = fresh(config, seed=3).patchifier.latent_tokens
    assert torch.equal(tok.patchifier.latent_tokens[3:], fresh_tokens[3:])


def test_other_models_are_refused(tmp_path: Path) -> None:
    config = CONFIGS["paper"]()
    perturbed(replace(config, latent_channels=3), torch.float32).save_pretrained(tmp_path)
    message = (
        f"A run must start from a model of its own kind, but {tmp_path} differs in "
        "latent_channels (3 there, 7 here). Choose the model that the recipe names, or train "
        "without `--init-from`."
    )
    with error(message):
        initialise(fresh(config), tmp_path)


def test_levels_grow_only_where_a_recipe_says_so(tmp_path: Path) -> None:
    config = CONFIGS["paper"]()
    perturbed(replace(config, num_levels=3), torch.float32).save_pretrained(tmp_path)
    message = (
        f"A run must start from a model of its own kind, but {tmp_path} differs in "
        f"num_levels (3 there, {LEVELS} here). Choose the model that the recipe names, or train "
        "without `--init-from`."
    )
    with error(message):
        initialise(fresh(config), tmp_path)


def test_a_linear_path_is_a_start(tmp_path: Path) -> None:
    source = perturbed(CONFIGS["nano"](), torch.float32)
    file = tmp_path / "linear.safetensors"
    save_file(source.linear_path.state_dict(), file)
    tok = fresh(CONFIGS["nano"]())
    assert initialise(tok, file) == f"started from the linear path {file}"
    for key, value in source.linear_path.state_dict().items():
        assert torch.equal(tok.linear_path.state_dict()[key], value)
    with error(
        "A linear path must have a model to go into, but this one has none "
        f"({file}). Start from a model folder."
    ):
        initialise(fresh(CONFIGS["paper"]()), file)
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ValueError, match="A linear path must be the whole file of"):
        initialise(tok, file)


def test_latent_statistics_are_those_of_active_tokens(tmp_path: Path) -> None:
    statistics = LatentStatistics(LEVELS, 7)
    chosen: list[list[torch.Tensor]] = [[] for _ in range(LEVELS)]
    for seed in range(3):
        tokens = random_pixels(2, 1, 3, 4, LEVELS, 7, seed=seed) + 10
        levels = random_levels(2, 1, 3, 4, seed=seed)
        statistics.add(tokens, levels)
        for level in range(LEVELS):
            chosen[level].append(tokens[..., level, :][levels > level])
    for level, values in enumerate(chosen):
        joined = torch.cat(values)
        torch.testing.assert_close(statistics.mean[level], joined.mean(dim=0))
        torch.testing.assert_close(statistics.std[level], joined.std(dim=0, correction=0))
    statistics.save(tmp_path, "abc")
    content = json.loads((tmp_path / "latent_statistics.json").read_text())
    assert (content["format"], content["tokenizer"]) == (1, "abc")
    assert content["tokens"] == [len(torch.cat(values)) for values in chosen]
    assert torch.tensor(content["std"]).shape == (LEVELS, 7)


def test_a_model_of_fixed_patches_starts_from_one_of_a_fixed_count(tmp_path: Path) -> None:
    """What a patch is asked to be is no matter for the weights; whether they give variances is."""
    config = CONFIGS["nano"]()
    perturbed(config, torch.float32).save_pretrained(tmp_path)
    tok = fresh(replace(config, patch_pixels=5))
    assert initialise(tok, tmp_path) == f"started from {tmp_path}"
    message = (
        f"A run must start from a model of its own kind, but {tmp_path} differs in "
        "posterior (False there, True here). Choose the model that the recipe names, or train "
        "without `--init-from`."
    )
    with error(message):
        initialise(fresh(replace(config, posterior=True)), tmp_path)
