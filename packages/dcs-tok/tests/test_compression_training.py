"""``dcs-tok train nano-rate`` and ``dcs-tok fit-context`` end in models that compress."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from safetensors import safe_open

from dcs_common.training import Share
from dcs_tok import DCSTok
from dcs_tok.compression.codec import codec_of, decompress
from dcs_tok.compression.compress import compress
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.compression.entropy_model import ENTROPY_FILE, EntropyModel
from dcs_tok.training import RECIPES
from dcs_tok.training.context_task import ContextTask

from .commands import Command
from .small_codec import save_small_model, small_tok, waves
from .tiny_models import fresh, nano
from .training_runs import batch, photos

FIT = ("--clip-share", 0, "--batch-size", 2, "--steps", 3)


def test_the_recipe_is_nano_s_with_a_price_on_bits() -> None:
    base, rate = RECIPES["nano"](), RECIPES["nano-rate"]()
    assert rate.model == base.model
    assert rate.losses == replace(base.losses, rate=0.1)
    assert rate.levels == replace(base.levels, full_share=0.5)
    assert (rate.grows_blocks, base.grows_blocks) == (True, False)
    assert rate.starts_from == "nano"
    assert rate.training.other_optimizer.learning_rate == 2e-3


def test_a_rate_below_0() -> None:
    with pytest.raises(ValueError, match=r"^`rate` must be 0 or more, but is -1\.0\."):
        replace(RECIPES["nano-rate"]().losses, rate=-1.0)


def test_a_tiny_run_trains_tokenizer_and_context_network(command: Command, tmp_path: Path) -> None:
    data, run = photos(tmp_path / "data", 3), tmp_path / "run"
    said = command.line(
        "train", "nano-rate", "--tiny", "--clip-share", 0, "--batch-size", 2, "--steps", 2,
        "--data", data, "--output", run,
    )  # fmt: skip
    assert said.startswith(f"wrote {run / 'model'}: nano-rate (tiny), 2 steps, 4 samples, ")
    logged = json.loads((run / "scalars.jsonl").read_text().splitlines()[-1])
    assert {"bits", "context_bits", "loss/tokenizer", "loss/context"} <= logged.keys()
    with safe_open(run / "checkpoint.safetensors", framework="pt") as file:
        trained = [name for name in file.keys() if "levels.7.out.weight" in name]  # noqa: SIM118
        assert any(file.get_tensor(name).any() for name in trained)  # it began at 0
    assert DCSTok.from_pretrained(run / "model").config == RECIPES["nano"]().model


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model folder with nothing but the tokenizer."""
    folder = tmp_path_factory.mktemp("fitted") / "model"
    fresh(nano()).save_pretrained(folder)
    return folder


def test_fit_context_writes_what_compression_needs(
    command: Command, tmp_path: Path, fitted: Path
) -> None:
    data, run = photos(tmp_path / "data", 3), tmp_path / "run"
    target = copytree(fitted, tmp_path / "model")
    finished = command("fit-context", target, run, "--data", data, *FIT)
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.startswith(f"wrote {target / ENTROPY_FILE}: 3 steps, ")
    assert (target / ENTROPY_FILE).read_bytes() == (run / ENTROPY_FILE).read_bytes()
    tok = DCSTok.from_pretrained(target)
    pixels = waves(16, 19)
    assert decompress(compress(pixels, tok, quality=30), model=tok).shape == pixels.shape
    assert EntropyModel.load(run).tokenizer == tok.fingerprint

    again = tmp_path / "again"
    finished = command("fit-context", target, again, "--data", data, *FIT)
    assert finished.code == 0
    assert finished.err == f"dcs-tok: started from the entropy model of {target}\n"
    assert (target / ENTROPY_FILE).read_bytes() == (again / ENTROPY_FILE).read_bytes()
    first, second = EntropyModel.load(run), EntropyModel.load(again)
    assert first.fingerprint != second.fingerprint
    name = "levels.0.hidden.weight"
    moved = abs(first.tensors[name].astype(int) - second.tensors[name]).max() / 2**12
    assert 0 < moved < 0.02  # three steps at 2e-3 from where the first run ended
    assert (second.tensors["tables"].sum(axis=-1, dtype=np.int64) == 2**24).all()


def test_a_model_whose_context_has_another_width_is_a_start(
    command: Command, tmp_path: Path
) -> None:
    """The width is the file's, not the default."""
    model = save_small_model(tmp_path / "model")
    data, run = photos(tmp_path / "data", 2), tmp_path / "run"
    finished = command("fit-context", model, run, "--data", data, *FIT)
    assert finished.code == 0, finished.err
    assert EntropyModel.load(run).width == EntropyModel.load(model).width


def test_fit_context_minimises_the_bits_of_symbols() -> None:
    """On one batch, for 25 steps: fewer bits, and the tokenizer is as it was."""
    tok = small_tok()
    before = {name: tensor.clone() for name, tensor in tok.state_dict().items()}
    torch.manual_seed(0)
    context = ContextNetwork(tok.config.num_levels, tok.config.latent_channels, 16)
    task = ContextTask(tok, context, 0)
    samples = batch(4)
    samples = replace(samples, pixels=samples.pixels.float(), target=samples.target.float())
    optimizer = torch.optim.Adam(context.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        ((name, loss, _),) = task.losses(samples, Share(0, 0, 4, 4), task.networks)
        assert name == "context"
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in tok.state_dict().items())


def test_a_fitted_network_makes_smaller_files(tmp_path: Path) -> None:
    """What the loss says is what files weigh."""
    tok = small_tok()
    pixels = torch.cat([waves(40, 40, seed=i) for i in range(4)])
    samples = replace(batch(4), pixels=pixels, target=pixels, patches=5)
    torch.manual_seed(0)
    context = ContextNetwork(tok.config.num_levels, tok.config.latent_channels, 16)
    task = ContextTask(tok, context, 0)
    optimizer = torch.optim.Adam(context.parameters(), lr=1e-2)
    tok.save_pretrained(tmp_path)
    sizes = []
    for step in range(41):
        if step in (0, 40):
            EntropyModel.of_network(context, tok).save(tmp_path)
            codec = codec_of(DCSTok.from_pretrained(tmp_path))
            latents = codec.tok.encode(waves(40, 40, seed=9), patches=5)
            sizes.append(len(codec.code(latents, 45).data))
        ((_, loss, _),) = task.losses(samples, Share(step, 0, 4, 4), task.networks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sizes[1] < 0.9 * sizes[0]


def test_fit_context_needs_data(command: Command, tmp_path: Path, fitted: Path) -> None:
    said = command.misuse("fit-context", fitted, tmp_path / "run")
    assert said == "the following arguments are required: --data"
    gone = tmp_path / "gone"
    assert str(gone) in command.refusal("fit-context", fitted, tmp_path / "run", "--data", gone)


def test_fit_context_refuses_a_device_that_is_not_there(
    command: Command, tmp_path: Path, fitted: Path
) -> None:
    data = photos(tmp_path / "data", 1)
    said = command.refusal("fit-context", fitted, tmp_path / "run", "--data", data, "--device", "x")
    assert said.startswith("`--device` must name a device of this machine, but is 'x' (")
    assert said.endswith("). Use cpu.")
