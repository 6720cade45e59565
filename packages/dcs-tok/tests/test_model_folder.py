"""Models in folders: what is saved comes back, and latents know who made them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcs_common import Latents
from dcs_tok import DCSTok

from .errors import error
from .tiny_models import CONFIGS, NAMES, fresh, perturbed, random_pixels

IMAGE = random_pixels(1, 3, 7, 11, dtype=torch.float32)


def _saved(tok: DCSTok, folder: Path, dtype: torch.dtype | None = None) -> DCSTok:
    tok.save_pretrained(folder, dtype=dtype)
    return DCSTok.from_pretrained(folder)


def _fine_tune(tok: DCSTok, *halves: str) -> None:
    with torch.no_grad():
        for name, parameter in tok.named_parameters():
            if name.startswith(halves):
                parameter.add_(0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_comes_back_exactly(name: str, tmp_path: Path) -> None:
    tok = perturbed(CONFIGS[name](), torch.float32)
    loaded = _saved(tok, tmp_path)
    assert loaded.config == tok.config
    assert not loaded.training
    assert list(loaded.state_dict()) == list(tok.state_dict())
    latents = tok.encode(IMAGE)
    assert torch.equal(loaded.encode(IMAGE).tokens, latents.tokens)
    assert torch.equal(loaded.decode(latents), tok.decode(latents))


def test_saving_in_half_precision_rounds_weights_and_loads_in_float32(tmp_path: Path) -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float32)
    whole = _saved(tok, tmp_path / "whole")
    half = _saved(tok, tmp_path / "half", torch.float16)
    for name, tensor in half.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tok.state_dict()[name].half().float())
    sizes = [
        (tmp_path / folder / "model.safetensors").stat().st_size for folder in ("whole", "half")
    ]
    assert sizes[1] < 0.6 * sizes[0]
    assert half.fingerprint != whole.fingerprint  # its latents are others
    again = _saved(half, tmp_path / "again", torch.float16)
    assert again.fingerprint == half.fingerprint


def test_a_double_precision_model_is_stored_as_it_is_and_loads_in_float32(tmp_path: Path) -> None:
    tok = perturbed(CONFIGS["nano"]())
    loaded = _saved(tok, tmp_path)
    assert all(tensor.dtype == torch.float32 for tensor in loaded.state_dict().values())
    torch.testing.assert_close(
        loaded.encode(IMAGE).tokens.double(),
        tok.encode(IMAGE.double()).tokens,
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("name", ["nano", "nano_transformer"])
def test_the_fingerprint_names_the_encoding_half(name: str, tmp_path: Path) -> None:
    tok = perturbed(CONFIGS[name](), torch.float32)
    first = _saved(tok, tmp_path / "first").fingerprint
    assert isinstance(first, str)
    assert len(first) == 16
    assert _saved(tok, tmp_path / "again").fingerprint == first

    codes = ("linear_path.still.", "linear_path.moving.")
    networks = ("decoder_networks.",) if name == "nano" else ("decoder.", "depatchifier.")
    decoding = (*networks, *(f"{code}decode_weight" for code in codes))
    _fine_tune(tok, *decoding)
    tuned = _saved(tok, tmp_path / "tuned")
    assert tuned.fingerprint == first
    reference = DCSTok.from_pretrained(tmp_path / "first").state_dict()
    differing = {
        name for name, tensor in tuned.state_dict().items() if (tensor != reference[name]).any()
    }
    assert differing == {name for name in reference if name.startswith(decoding)}

    own = [f"{code}{part}" for code in codes for part in ("encode_weight", "mean")]
    encoding = ("encoder_networks.",) if name == "nano" else ("patchifier.", "encoder.")
    for half in (*encoding, *own):
        other = DCSTok.from_pretrained(tmp_path / "first")
        _fine_tune(other, half)
        assert _saved(other, tmp_path / half).fingerprint != first


def test_latents_carry_the_fingerprint_and_other_tokenizers_refuse_them(tmp_path: Path) -> None:
    tok = _saved(perturbed(CONFIGS["nano"](), torch.float32), tmp_path / "one")
    other = _saved(perturbed(CONFIGS["nano"](), torch.float32, seed=1), tmp_path / "other")
    tok.encode(IMAGE).save(tmp_path / "latents.safetensors")
    latents = Latents.load(tmp_path / "latents.safetensors")
    assert latents.tokenizer == tok.fingerprint
    assert torch.equal(tok.decode(latents), tok.decode(tok.encode(IMAGE)))
    message = (
        f"Latents must come from the tokenizer that decodes them ({other.fingerprint}), "
        f"but come from {tok.fingerprint}. Load that model."
    )
    with error(message):
        other.decode(latents)
    with error(message):
        next(other.decode_progressive(latents))
    with error(message):
        other.decode(latents, levels=2)


def test_latents_and_models_without_a_fingerprint_decode(tmp_path: Path) -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float32)
    assert tok.fingerprint is None
    loaded = _saved(tok, tmp_path)
    anonymous = tok.encode(IMAGE)
    assert anonymous.tokenizer is None
    expected = tok.decode(anonymous)
    assert torch.equal(loaded.decode(anonymous), expected)
    assert torch.equal(tok.decode(loaded.encode(IMAGE)), expected)


def test_a_tuned_decoder_reads_older_latents(tmp_path: Path) -> None:
    tok = _saved(perturbed(CONFIGS["nano"](), torch.float32), tmp_path / "first")
    latents = tok.encode(IMAGE)
    _fine_tune(tok, "decoder_networks.")
    tuned = _saved(tok, tmp_path / "tuned")
    assert not torch.equal(
        tuned.decode(latents), DCSTok.from_pretrained(tmp_path / "first").decode(latents)
    )


def test_training_takes_the_fingerprint_away(tmp_path: Path) -> None:
    tok = _saved(fresh(CONFIGS["nano"]()), tmp_path)
    assert tok.fingerprint is not None
    assert tok.eval().fingerprint is not None
    assert tok.train().fingerprint is None
    assert tok.encode(IMAGE).tokenizer is None


def test_loaded_weights_can_be_trained(tmp_path: Path) -> None:
    tok = _saved(perturbed(CONFIGS["paper"](), torch.float32), tmp_path).train()
    reconstruction, _ = tok(IMAGE)
    reconstruction.square().mean().backward()
    assert all(parameter.grad is not None for parameter in tok.parameters())


@pytest.mark.parametrize("name", ["dcs-tok-huge", "nobody/dcs-tok-nano", "/no/such/folder"])
def test_a_model_that_does_not_exist(name: str, tmp_path: Path) -> None:
    kind = "HFValidationError" if name.startswith("/") else "LocalEntryNotFoundError"
    message = (
        "A model must be one of ['dcs-tok-nano', 'dcs-tok-nano-gen', 'dcs-tok-nano-rate'], "
        "a folder or a hub id that can be reached, but "
        f"{name!r} is none ({kind}). Check the name and the network."
    )
    with error(message):
        DCSTok.from_pretrained(name, local_files_only=True, cache_dir=tmp_path)


def test_weights_of_another_config_are_refused(tmp_path: Path) -> None:
    config = CONFIGS["nano"]()
    perturbed(config, torch.float32).save_pretrained(tmp_path / "one")
    wider = replace(config, num_levels=config.num_levels + 1)
    perturbed(wider, torch.float32).save_pretrained(tmp_path / "other")
    weights: Tensor = (tmp_path / "other" / "model.safetensors").read_bytes()
    (tmp_path / "one" / "model.safetensors").write_bytes(weights)
    message = (
        f"The weights must fit the config, but 12 tensors of {tmp_path / 'one'} are missing, "
        "unknown or of another shape (first: 'decoder_networks.moving.latents_in.weight'). "
        "Save the model again."
    )
    with error(message):
        DCSTok.from_pretrained(tmp_path / "one")
