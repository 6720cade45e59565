"""Damaged, foreign, newer or absent model folders: one error that says what to do."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from dcs_common.pretrained import PretrainedModel


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    width: int = 5

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"`width` must be at least 1, but is {self.width}.")


class Toy(PretrainedModel):
    config_class: ClassVar[type] = ToyConfig
    model_kind: ClassVar[str] = "toy"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.layer = nn.Linear(config.width, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Toy(ToyConfig()).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def assert_refused(folder: object, message: str, **options: Any) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Toy.from_pretrained(folder, **options)  # type: ignore[arg-type]


def change_config(folder: Path, **change: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert_refused(
        folder, f"A model folder must hold {name}, but {folder} does not. Check the path."
    )


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert_refused(
        tmp_path, f"A model folder must hold config.json, but {tmp_path} does not. Check the path."
    )


def test_a_config_cut_anywhere_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    text = path.read_bytes()
    message = f"config.json must be JSON, but {path} is not. It may be cut short; copy it again."
    for length in range(len(text.rstrip())):
        path.write_bytes(text[:length])
        assert_refused(folder, message)
    path.write_bytes(b"\xff\xfe\x00")
    assert_refused(folder, message)


def test_weights_cut_anywhere_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SafetensorError) as why:
            load(whole[:length])
        assert_refused(
            folder,
            f"model.safetensors must be a whole safetensors file, but {path} is not "
            f"({why.value}). It may be cut short; copy it again.",
        )


def test_a_pickle_is_never_opened(folder: Path) -> None:
    torch.save({"layer.weight": torch.zeros(3, 5)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"^model\.safetensors must be a whole safetensors file"):
        Toy.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["dcs-tok", None, 3])
def test_another_kind_of_model_is_refused(folder: Path, kind: object) -> None:
    change_config(folder, model=kind)
    assert_refused(
        folder,
        f"The folder must hold a 'toy' model, but {folder} holds {kind!r}. "
        "Load it with the class that saved it.",
    )


@pytest.mark.parametrize("text", ["[]", "3", "null", '"toy"'])
def test_a_config_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert_refused(
        folder,
        f"The folder must hold a 'toy' model, but {folder} holds {json.loads(text)!r}. "
        "Load it with the class that saved it.",
    )


@pytest.mark.parametrize("config", [None, 3, [5]])
def test_a_config_without_fields_is_refused(folder: Path, config: object) -> None:
    change_config(folder, config=config)
    assert_refused(
        folder,
        f"The config in {folder / 'config.json'} must be a JSON object, but is {config!r}. "
        "Save the model again.",
    )


@pytest.mark.parametrize("number", [2, "1", None])
def test_another_format_is_refused(folder: Path, number: object) -> None:
    change_config(folder, format=number)
    assert_refused(
        folder,
        f"The model format must be 1, but {folder} has format {number!r}. "
        "Update the package that loads it.",
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "`config` must have the keys ['width'], but lacks ['width']. Save the model again."),
        (
            {"width": 5, "depth": 2},
            "`config` must have the keys ['width'], but also has ['depth']. "
            "It may come from a newer release; update, or remove them.",
        ),
        ({"width": "5"}, "`config.width` must be of type <class 'int'>, but is '5'."),
        ({"width": 0}, "`width` must be at least 1, but is 0."),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, config: object, message: str) -> None:
    change_config(folder, config=config)
    assert_refused(folder, message)


@pytest.mark.parametrize(
    ("change", "count", "first"),
    [
        (lambda t: t.update({"layer.weight": torch.zeros(3, 7)}), 1, "layer.weight"),
        (lambda t: t.update({"layer.weight": torch.zeros(5, 3)}), 1, "layer.weight"),
        (lambda t: t.pop("layer.bias"), 1, "layer.bias"),
        (lambda t: t.update({"extra": torch.zeros(1)}), 1, "extra"),
        (lambda t: t.update({"weight": t.pop("layer.weight")}), 2, "layer.weight"),
    ],
)
def test_weights_of_another_shape_are_refused(
    folder: Path, change: Callable[[dict[str, Tensor]], object], count: int, first: str
) -> None:
    change_weights(folder, change)
    assert_refused(
        folder,
        f"The weights must fit the config, but {count} tensors of {folder} are missing, unknown or "
        f"of another shape (first: {first!r}). Save the model again.",
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    change_weights(folder, lambda tensors: tensors["layer.bias"][1:2].fill_(value))
    assert_refused(
        folder,
        f"Weights must be finite, but 'layer.bias' in {folder} is not. Take an earlier checkpoint.",
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("somebody/no-such-model", "LocalEntryNotFoundError"),
        ("not a name!", "HFValidationError"),
        ("a/b/c", "HFValidationError"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(tmp_path: Path, name: str, why: str) -> None:
    assert_refused(
        name,
        f"A model must be one of [], a folder or a hub id that can be reached, but {name!r} is "
        f"none ({why}). Check the name and the network.",
        local_files_only=True,
        cache_dir=tmp_path,
    )


def test_the_names_of_bundled_models_are_listed(tmp_path: Path) -> None:
    class Bundled(Toy):
        bundled: ClassVar[dict[str, Path]] = {"toy-b": tmp_path, "toy-a": tmp_path}

    message = (
        "A model must be one of ['toy-a', 'toy-b'], a folder or a hub id that can be reached, "
        "but 'toy-c' is none (LocalEntryNotFoundError). Check the name and the network."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Bundled.from_pretrained("toy-c", local_files_only=True, cache_dir=tmp_path)


def test_without_bundled_weights_a_name_must_be_given() -> None:
    assert_refused(None, "Toy ships no weights; give a folder or a hub id.")
