"""The entropy model's file: the same integers back, for the weights that they were fitted to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcs_tok import DCSTok
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.compression.entropy_model import ENTROPY_FILE, EntropyModel
from dcs_tok.compression.quantiser import unit_steps

from .small_codec import (
    CHANNELS,
    LEVELS,
    WIDTH,
    random_context,
    save_small_model,
    small_codec,
)
from .tiny_models import fresh


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


def test_the_file_comes_back(folder: Path, tmp_path: Path) -> None:
    model = EntropyModel.load(folder)
    assert model.save(tmp_path) == tmp_path / ENTROPY_FILE
    again = EntropyModel.load(tmp_path)
    assert (again.tokenizer, again.fingerprint) == (model.tokenizer, model.fingerprint)
    assert again.tensors.keys() == model.tensors.keys()
    for name, tensor in model.tensors.items():
        assert again.tensors[name].dtype == tensor.dtype
        assert np.array_equal(again.tensors[name], tensor), name
    assert len(bytes.fromhex(model.fingerprint)) == 8


def test_a_loaded_tokenizer_finds_the_file_beside_its_weights(folder: Path) -> None:
    tok = DCSTok.from_pretrained(folder)
    assert tok.folder == folder
    assert EntropyModel.of(tok).fingerprint == EntropyModel.load(folder).fingerprint
    assert EntropyModel.of(tok).width == WIDTH
    assert DCSTok.companions == (ENTROPY_FILE,)
    assert fresh(tok.config).folder is None


def test_steps_are_the_tokenizer_s(folder: Path) -> None:
    tok, model = DCSTok.from_pretrained(folder), EntropyModel.load(folder)
    for still, name in ((True, "still_steps"), (False, "moving_steps")):
        assert np.array_equal(model.tensors[name], unit_steps(tok, still=still).numpy())
        assert model.tensors[name].shape == (LEVELS, CHANNELS)


@pytest.mark.parametrize("spread", [0.05, 1.0, 3.0])
def test_training_goes_on_from_the_integers(folder: Path, spread: float) -> None:
    """Exported, taken up and exported again, nothing has moved."""
    tok = DCSTok.from_pretrained(folder)
    model = EntropyModel.of_network(random_context(LEVELS, CHANNELS, 5, 3, spread), tok)
    network = ContextNetwork(LEVELS, CHANNELS, model.width)
    network.load_state_dict(model.float_state())
    again = EntropyModel.of_network(network, tok)
    assert again.fingerprint == model.fingerprint
    for name, tensor in model.tensors.items():
        assert np.array_equal(again.tensors[name], tensor), name


def test_weights_too_large_for_their_integers_are_clipped(folder: Path) -> None:
    network = random_context(LEVELS, CHANNELS, 5)
    with torch.no_grad():
        network.levels[1].hidden.weight[0, 0] = 9.5
        network.levels[1].hidden.weight[0, 1] = -9.5
    model = EntropyModel.of_network(network, DCSTok.from_pretrained(folder))
    weight = model.tensors["levels.1.hidden.weight"]
    assert weight[0, :2].ravel().tolist() == [2**15 - 1, -(2**15) + 1]


def test_every_tensor_that_coding_reads_is_in_the_fingerprint() -> None:
    model = small_codec().model
    for name, tensor in model.tensors.items():
        changed = tensor.copy()
        changed.flat[-1] += 1
        other = EntropyModel({**model.tensors, name: changed}, model.tokenizer)
        is_read = not name.startswith("condition.")
        assert (other.fingerprint != model.fingerprint) == is_read, name
    assert replace(model, tokenizer="0" * 16).fingerprint != model.fingerprint
