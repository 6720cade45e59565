"""An entropy model that is missing, damaged or of other weights is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from dcs_tok import DCSTok
from dcs_tok.compression.codec import Codec
from dcs_tok.compression.entropy_model import ENTROPY_FILE, EntropyModel

from .errors import error
from .small_codec import (
    save_small_model,
    save_with_entropy_model,
)
from .tiny_models import CONFIGS, fresh


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_a_folder_without_one(tmp_path: Path) -> None:
    fresh(CONFIGS["nano"]()).save_pretrained(tmp_path)
    with error(
        f"Compression needs the model's {ENTROPY_FILE}, but {tmp_path} does not hold it. Fit it "
        "with `dcs-tok fit-context`, or take dcs-tok-nano."
    ):
        Codec(DCSTok.from_pretrained(tmp_path))


def test_a_tokenizer_that_was_not_loaded() -> None:
    with error(
        "Compression needs a model that was loaded from its folder, where its entropy model lies, "
        "but this one was not. Use `DCSTok.from_pretrained`."
    ):
        Codec(fresh(CONFIGS["nano"]()))


def test_weights_of_another_tokenizer(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path / "copy")
    tok = DCSTok.from_pretrained(copy)
    known = tok.fingerprint
    with torch.no_grad():
        tok.linear_path.still.encode_weight[0, 0] += 1
    tok.save_pretrained(copy)
    tok = DCSTok.from_pretrained(copy)
    with error(
        f"The entropy model must be that of the weights ({tok.fingerprint}), but the one in "
        f"{copy} is for {known}. Fit it again with `dcs-tok fit-context`."
    ):
        Codec(tok)


def test_a_model_without_a_linear_path(tmp_path: Path) -> None:
    with error(
        "Compression needs a model with a linear path, whose components give the steps of the "
        "quantiser, but this one has none. Use dcs-tok-nano or a model of its kind."
    ):
        save_with_entropy_model(fresh(CONFIGS["paper"]()), tmp_path)


def refusal(path: Path, what: str) -> str:
    return (
        f"{ENTROPY_FILE} must be a whole file of format 1, but {path} is not ({what}). Copy it "
        "again, or update dcs-tok."
    )


Tensors = dict[str, np.ndarray]


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (lambda t: t.pop("tables"), "tensors are missing or of another shape"),
        (lambda t: t.pop("initial_state"), "'initial_state'"),
        (lambda t: t.pop("still_steps"), "'still_steps'"),
        (lambda t: t.pop("levels.0.hidden.bias"), "tensors are missing or of another shape"),
        (lambda t: t.update(tables=t["tables"][1:]), "tensors are missing or of another shape"),
        (
            lambda t: t.update({"levels.0.out.bias": t["levels.0.out.bias"][:-1]}),
            "tensors are missing or of another shape",
        ),
    ],
)
def test_tensors_that_are_missing_or_do_not_fit(
    folder: Path, tmp_path: Path, edit: Callable[[Tensors], object], what: str
) -> None:
    tensors = load_file(folder / ENTROPY_FILE)
    edit(tensors)
    path = tmp_path / ENTROPY_FILE
    about = {"kind": "dcs-entropy-model", "format": "1", "tokenizer": "0" * 16}
    save_file(tensors, path, {"about": json.dumps(about)})
    with error(refusal(path, what)):
        EntropyModel.load(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: t.pop("moving_steps"),
        lambda t: t.update(moving_steps=t["moving_steps"][:-1]),
        lambda t: t.update(initial_state=t["initial_state"][:50]),
    ],
)
def test_tensors_that_only_clips_or_good_qualities_read(
    folder: Path, tmp_path: Path, edit: Callable[[Tensors], object]
) -> None:
    """They are missed on loading, not when the first clip comes."""
    tensors = load_file(folder / ENTROPY_FILE)
    edit(tensors)
    about = {"kind": "dcs-entropy-model", "format": "1", "tokenizer": "0" * 16}
    save_file(tensors, tmp_path / ENTROPY_FILE, {"about": json.dumps(about)})
    with pytest.raises(ValueError):
        EntropyModel.load(tmp_path)


@pytest.mark.parametrize(
    ("about", "what"),
    [
        ({"kind": "dcs-latents", "format": "1"}, "kind and format 'dcs-latents' '1'"),
        ({"kind": "dcs-entropy-model", "format": "2"}, "kind and format 'dcs-entropy-model' '2'"),
        ({"kind": "dcs-entropy-model", "format": "1"}, "'tokenizer'"),
    ],
)
def test_other_files_by_that_name(
    folder: Path, tmp_path: Path, about: dict[str, str], what: str
) -> None:
    path = tmp_path / ENTROPY_FILE
    save_file(load_file(folder / ENTROPY_FILE), path, {"about": json.dumps(about)})
    with error(refusal(path, what)):
        EntropyModel.load(tmp_path)


def test_a_cut_or_another_file(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / ENTROPY_FILE
    data = (folder / ENTROPY_FILE).read_bytes()
    for damaged in (b"", data[:5], data[:1000], data[:-1], data + b"more", b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"^{ENTROPY_FILE} must be a whole file of format 1"):
            EntropyModel.load(tmp_path)
    save_file(load_file(folder / ENTROPY_FILE), path)
    with error(refusal(path, "'about'")):
        EntropyModel.load(tmp_path)
