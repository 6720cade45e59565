"""Model folders: what is saved comes back in float32, in eval mode, with its own name."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dcs_common.pretrained import PretrainedModel, fingerprint


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    width: int = 5
    bias: bool = True


class Toy(PretrainedModel):
    config_class: ClassVar[type] = ToyConfig
    model_kind: ClassVar[str] = "toy"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.encoder = nn.Linear(config.width, 3, bias=config.bias)
        self.decoder = nn.Linear(3, config.width)
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class EncoderNamesToy(Toy):
    def fingerprinted_tensors(self) -> dict[str, Tensor]:
        return {k: v for k, v in self.state_dict().items() if k.startswith("encoder.")}


def assert_same_state(first: nn.Module, second: nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    Toy(ToyConfig()).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_comes_back_to_the_bit(tmp_path: Path) -> None:
    toy = Toy(ToyConfig(width=11, bias=False))
    toy.steps += 2
    toy.save_pretrained(tmp_path / "new" / "model")
    loaded = Toy.from_pretrained(tmp_path / "new" / "model")
    assert_same_state(toy, loaded)
    assert loaded.config == ToyConfig(width=11, bias=False)
    x = torch.randn(2, 11)
    assert torch.equal(loaded(x), toy(x))


def test_the_folder_holds_an_envelope_and_plain_tensors(folder: Path) -> None:
    assert json.loads((folder / "config.json").read_text()) == {
        "model": "toy",
        "format": 1,
        "config": {"width": 5, "bias": True},
    }
    assert set(load_file(folder / "model.safetensors")) == set(Toy(ToyConfig()).state_dict())
    kinds = {path.suffix for path in folder.iterdir()} - {".md"}
    assert kinds == {".json", ".safetensors"}  # nothing to unpickle


def test_a_loaded_model_is_ready_to_use_and_to_train(folder: Path) -> None:
    toy = Toy.from_pretrained(str(folder))
    assert not any(module.training for module in toy.modules())
    assert {parameter.device.type for parameter in toy.parameters()} == {"cpu"}
    assert all(parameter.requires_grad for parameter in toy.parameters())
    assert isinstance(toy.encoder.weight, nn.Parameter)
    toy(torch.randn(2, 5)).sum().backward()
    assert toy.encoder.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_may_be_stored_in_half_precision(folder: Path, dtype: torch.dtype) -> None:
    toy, half = Toy.from_pretrained(folder), folder.parent / "half"
    toy.save_pretrained(half, dtype=dtype)
    stored = load_file(half / "model.safetensors")
    assert {stored["encoder.weight"].dtype, stored["decoder.bias"].dtype} == {dtype}
    assert stored["steps"].dtype == torch.int64
    loaded = Toy.from_pretrained(half)
    assert loaded.encoder.weight.dtype == torch.float32
    assert torch.equal(loaded.encoder.weight, toy.encoder.weight.to(dtype).float())
    toy.save_pretrained(half)  # the choice is not kept
    assert_same_state(Toy.from_pretrained(half), toy)


def test_the_fingerprint_names_config_and_weights(folder: Path) -> None:
    toy = Toy.from_pretrained(folder)
    name = toy.fingerprint
    assert name is not None
    assert len(bytes.fromhex(name)) == 8
    assert Toy.from_pretrained(folder).fingerprint == name
    with torch.no_grad():
        toy.decoder.bias[2] = torch.nextafter(toy.decoder.bias[2], torch.tensor(9.0))
    toy.save_pretrained(folder)
    assert Toy.from_pretrained(folder).fingerprint != name
    assert fingerprint({"width": 5}, {}) != fingerprint({"width": 6}, {})
    one = torch.ones(1)
    assert fingerprint({}, {"a": one}) != fingerprint({}, {"b": one})


def test_the_fingerprint_survives_a_rewritten_folder(folder: Path) -> None:
    """Also from half precision: it names the float32 values that are loaded."""
    Toy.from_pretrained(folder).save_pretrained(folder.parent / "half", dtype=torch.float16)
    half = Toy.from_pretrained(folder.parent / "half")
    half.save_pretrained(folder.parent / "again")
    assert Toy.from_pretrained(folder.parent / "again").fingerprint == half.fingerprint


def test_a_subclass_decides_which_tensors_name_it(folder: Path) -> None:
    toy = EncoderNamesToy.from_pretrained(folder)
    name = toy.fingerprint
    with torch.no_grad():
        toy.decoder.weight += 1
    toy.save_pretrained(folder)
    assert EncoderNamesToy.from_pretrained(folder).fingerprint == name
    with torch.no_grad():
        toy.encoder.weight += 1
    toy.save_pretrained(folder)
    assert EncoderNamesToy.from_pretrained(folder).fingerprint != name


def test_training_takes_the_fingerprint_away(folder: Path) -> None:
    toy = Toy.from_pretrained(folder)
    toy.eval()
    assert toy.fingerprint is not None
    toy.train()
    assert toy.fingerprint is None
    toy.eval()
    assert toy.fingerprint is None
    assert Toy(ToyConfig()).fingerprint is None


def test_bundled_models_have_names_and_a_default(folder: Path) -> None:
    other = folder.parent / "other"
    Toy(ToyConfig(width=7)).save_pretrained(other)

    class Bundled(Toy):
        bundled: ClassVar[dict[str, Path]] = {"toy-small": folder, "toy-wide": other}

    assert Bundled.from_pretrained().config.width == 5
    assert Bundled.from_pretrained("toy-small").config.width == 5
    assert Bundled.from_pretrained("toy-wide").config.width == 7
    assert Bundled.from_pretrained(folder).config.width == 5


def test_bundled_models_and_folders_need_no_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the network was asked")

    class Bundled(Toy):
        bundled: ClassVar[dict[str, Path]] = {"toy-small": folder}

    monkeypatch.setattr("dcs_common.pretrained.snapshot_download", fail)
    monkeypatch.setattr("socket.socket.connect", fail)
    assert_same_state(Bundled.from_pretrained(), Bundled.from_pretrained(str(folder)))
    assert_same_state(Bundled.from_pretrained(), Bundled.from_pretrained("toy-small"))


def test_a_model_knows_the_folder_that_it_came_from(folder: Path) -> None:
    assert Toy.from_pretrained(str(folder)).folder == folder
    assert Toy(ToyConfig()).folder is None
    toy = Toy.from_pretrained(folder)
    toy.save_pretrained(folder.parent / "copy")
    assert toy.folder == folder


def test_companions_are_downloaded_with_the_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithCompanions(Toy):
        companions: ClassVar[tuple[str, ...]] = ("one.safetensors", "two.json")

    asked: list[object] = []

    def download(name: str, **options: object) -> str:
        asked.append(options["allow_patterns"])
        return str(folder)

    monkeypatch.setattr("dcs_common.pretrained.snapshot_download", download)
    assert WithCompanions.from_pretrained("somebody/toy").folder == folder
    assert asked == [["config.json", "model.safetensors", "one.safetensors", "two.json"]]


def test_hub_models_are_read_from_the_folder_that_the_hub_gives(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def download(name: str, **options: object) -> str:
        asked.append((name, options))
        return str(folder)

    monkeypatch.setattr("dcs_common.pretrained.snapshot_download", download)
    toy = Toy.from_pretrained("somebody/toy", revision="v1", token="t", cache_dir=Path("c"))
    assert_same_state(toy, Toy.from_pretrained(folder))
    assert asked == [
        (
            "somebody/toy",
            {
                "revision": "v1",
                "token": "t",
                "cache_dir": Path("c"),
                "local_files_only": False,
                "allow_patterns": ["config.json", "model.safetensors"],
            },
        )
    ]


def test_a_failed_save_leaves_the_old_model_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        Toy(ToyConfig(width=7)).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
