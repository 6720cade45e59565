"""Stage 2 grows the levels of stage 1, and networks grow blocks; what cannot grow is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcs_common.config import config_to_dict
from dcs_tok import DCSTok, DCSTokConfig
from dcs_tok.training import RECIPES
from dcs_tok.training.initialise import initialise
from dcs_tok.training.recipes import tiny

from .errors import error
from .tiny_models import CONFIGS, LEVELS, TRANSFORMERS, fresh, perturbed, random_pixels


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_transformer_grows(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]()
    old = perturbed(replace(config, num_levels=2), torch.float32)
    old.save_pretrained(tmp_path)
    tok = fresh(config, seed=3).eval()
    initialise(tok, tmp_path, grows_levels=True)
    old, tok = old.double(), tok.double()
    pixels = random_pixels(1, 3, 5, 13, 17)
    before, after = old.encode(pixels, 4), tok.encode(pixels, 4)
    # One model computes more tokens at a time than the other: equal up to rounding.
    torch.testing.assert_close(after.take_levels(2).tokens, before.tokens, rtol=0, atol=1e-9)
    for levels in (1, 2):
        decoded, expected = tok.decode(after, levels=levels), old.decode(before, levels=levels)
        torch.testing.assert_close(decoded, expected, rtol=0, atol=1e-9)
    assert not torch.equal(tok.decode(after), tok.decode(after, levels=2))


def test_stage_2_starts_from_stage_1(tmp_path: Path) -> None:
    first, second = tiny(RECIPES["stage-1"]()), tiny(RECIPES["stage-2"]())
    old = perturbed(first.model, torch.float32)
    old.save_pretrained(tmp_path)
    tok = DCSTok(second.model)
    said = initialise(tok, tmp_path, grows_levels=second.grows_levels)
    assert said == f"started from {tmp_path}, grown from 4 levels to 8"
    was, now = old.state_dict(), tok.state_dict()
    assert was.keys() == now.keys()
    grown = {key for key in now if now[key].shape != was[key].shape}
    assert "patchifier.latent_tokens" in grown
    for key, value in now.items():
        assert torch.equal(value[:4] if key in grown else value, was[key]), key


@pytest.mark.parametrize("name", ["paper", "nano"])
def test_levels_do_not_shrink(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]()
    perturbed(config, torch.float32).save_pretrained(tmp_path)
    tok = fresh(replace(config, num_levels=3))
    before = {key: value.clone() for key, value in tok.state_dict().items()}
    with error(
        f"A run must start from a model of its own kind, but {tmp_path} differs in num_levels "
        f"({LEVELS} there, 3 here). Choose the model that the recipe names, or train without "
        "`--init-from`."
    ):
        initialise(tok, tmp_path, grows_levels=True)
    assert all(torch.equal(value, before[key]) for key, value in tok.state_dict().items())


def test_networks_that_mix_levels_do_not_grow(tmp_path: Path) -> None:
    config = CONFIGS["nano"]()
    perturbed(replace(config, num_levels=3), torch.float32).save_pretrained(tmp_path)
    tok = fresh(config)
    before = {key: value.clone() for key, value in tok.state_dict().items()}
    with error(
        "Weights that grow must hold levels along their first axis, but "
        "'decoder_networks.still.latents_in.weight' has shape (24, 21) there and (24, 35) here. "
        "Train this model anew."
    ):
        initialise(tok, tmp_path, grows_levels=True)
    assert all(torch.equal(value, before[key]) for key, value in tok.state_dict().items())


def test_another_grid_of_patches_is_no_other_model(tmp_path: Path) -> None:
    """A model's k is what it encodes with by default; its weights fit any."""
    config = CONFIGS["nano"]()
    perturbed(config, torch.float32).save_pretrained(tmp_path)
    tok = fresh(replace(config, patches_short_side=4))
    assert initialise(tok, tmp_path) == f"started from {tmp_path}"


def test_a_linear_path_that_is_not_there(tmp_path: Path) -> None:
    gone = tmp_path / "gone.safetensors"
    tok = fresh(CONFIGS["nano"]())
    with pytest.raises(ValueError) as raised:
        initialise(tok, gone)
    said = str(raised.value)
    assert said.startswith(
        "A linear path must be the whole file of `dcs-tok fit-linear` for this model, but "
        f"{gone} is not ("
    )
    assert said.endswith("). Fit it again.")


def _deeper(config: DCSTokConfig, encoder: int, decoder: int) -> DCSTokConfig:
    canonical = config.canonical
    return replace(
        config,
        canonical=replace(
            canonical,
            encoder=replace(canonical.encoder, blocks=encoder),
            decoder=replace(canonical.decoder, blocks=decoder),
        ),
    )


@pytest.mark.parametrize(("encoder", "decoder"), [(1, 3), (2, 1), (3, 2)])
def test_new_residual_blocks_start_as_the_identity(
    encoder: int, decoder: int, tmp_path: Path
) -> None:
    """The grown model encodes and decodes as before, and its new blocks can learn."""
    config = CONFIGS["nano"]()
    old = perturbed(config, torch.float32)
    old.save_pretrained(tmp_path)
    tok = fresh(_deeper(config, encoder, decoder), seed=3).eval()
    said = initialise(tok, tmp_path, grows_blocks=True)
    assert said == f"started from {tmp_path}, grown by residual blocks"
    assert tok.state_dict().keys() > old.state_dict().keys()
    for fps, shape in ((None, (1, 3, 13, 17)), (4, (1, 3, 5, 13, 17))):
        pixels = random_pixels(*shape, dtype=torch.float32)
        before, after = old.encode(pixels, fps), tok.encode(pixels, fps)
        torch.testing.assert_close(after.tokens, before.tokens, rtol=0, atol=1e-5)
        torch.testing.assert_close(tok.decode(after), old.decode(before), rtol=0, atol=1e-5)
    rebuilt, _ = tok.train()(random_pixels(1, 3, 13, 17, dtype=torch.float32))
    (rebuilt - 0.3).square().mean().backward()
    fresh_ones = tok.state_dict().keys() - old.state_dict().keys()
    gradients = {n: p.grad for n, p in tok.named_parameters() if n in fresh_ones and ".still" in n}
    assert any(gradient is not None and gradient.any() for gradient in gradients.values())


def test_blocks_grow_only_where_a_recipe_says_so(tmp_path: Path) -> None:
    config = CONFIGS["nano"]()
    perturbed(config, torch.float32).save_pretrained(tmp_path)
    deeper = _deeper(config, 1, 3)
    there, here = (config_to_dict(c)["canonical"] for c in (config, deeper))
    with error(
        f"A run must start from a model of its own kind, but {tmp_path} differs in canonical "
        f"({there} there, {here} here). Choose the model that the recipe names, or train without "
        "`--init-from`."
    ):
        initialise(fresh(deeper), tmp_path)


def test_blocks_do_not_shrink(tmp_path: Path) -> None:
    config = CONFIGS["nano"]()
    perturbed(_deeper(config, 2, 2), torch.float32).save_pretrained(tmp_path)
    for fewer in (config, _deeper(config, 1, 3)):
        with pytest.raises(ValueError, match="differs in canonical"):
            initialise(fresh(fewer), tmp_path, grows_blocks=True)


def test_nothing_but_blocks_grows_with_them(tmp_path: Path) -> None:
    config = CONFIGS["nano"]()
    perturbed(config, torch.float32).save_pretrained(tmp_path)
    deeper = _deeper(config, 1, 3)
    canonical = deeper.canonical
    wider = replace(canonical, decoder=replace(canonical.decoder, width=9))
    for other in (
        replace(deeper, canonical=wider),
        replace(deeper, canonical=replace(canonical, frames=2)),
        replace(deeper, canonical=replace(canonical, encoder=None)),
        replace(deeper, latent_channels=3),
    ):
        with pytest.raises(ValueError, match=r"^A run must start from a model of its own kind"):
            initialise(fresh(other), tmp_path, grows_blocks=True)


def test_a_model_as_deep_is_a_start_as_ever(tmp_path: Path) -> None:
    config = CONFIGS["nano"]()
    perturbed(config, torch.float32).save_pretrained(tmp_path)
    assert initialise(fresh(config), tmp_path, grows_blocks=True) == f"started from {tmp_path}"
