"""Where LPIPS' weights come from, and what is said when they do not."""

import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dcs_tok.losses import lpips_network as module
from dcs_tok.losses.lpips_network import lpips_network

from .errors import error
from .random_trunk import random_trunk

TRUNK = random_trunk()
FEATURES = {k: v for k, v in TRUNK.items() if k.startswith("features.")}
BARE = {k.removeprefix("features."): v for k, v in FEATURES.items()}
HUB_FILE = "squeezenet1_1-b8a52dc0.pth"
URL = f"https://download.pytorch.org/models/{HUB_FILE}"


def written(path: Path, tensors: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""

    def no_network(*arguments: object, **options: object) -> None:
        raise URLError("no network here")

    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def assert_holds(network: torch.nn.Module, features: dict[str, Tensor]) -> None:
    """Compare layer by layer through lpips' slices."""
    found = {
        f"{number}.{key}": tensor
        for part in network.net.children()
        for number, layer in part.named_children()
        for key, tensor in layer.state_dict().items()
    }
    assert found.keys() == features.keys()
    assert all(torch.equal(found[key], features[key]) for key in features)


def heads_of(network: torch.nn.Module) -> list[Tensor]:
    return [network.get_parameter(f"lin{i}.model.1.weight") for i in range(7)]


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("tensors", [TRUNK, FEATURES, BARE], ids=["whole", "features", "bare"])
def test_files_of_every_style(
    tensors: dict[str, Tensor], ending: str, tmp_path: Path, hub: Path
) -> None:
    file = written(tmp_path / f"trunk.{ending}", tensors)
    network = lpips_network("squeeze", file, None)
    assert_holds(network, BARE)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    # The heads of lpips' wheel, which were fitted to weigh and never to subtract.
    assert all(head.min() >= 0 and head.max() > 0 for head in heads_of(network))


def test_half_precision_files_are_widened(tmp_path: Path) -> None:
    file = written(tmp_path / "trunk.pth", {k: v.half() for k, v in BARE.items()})
    assert_holds(
        lpips_network("squeeze", file, None), {k: v.half().float() for k, v in BARE.items()}
    )


def test_heads_of_ones_own(tmp_path: Path) -> None:
    channels = [64, 128, 256, 384, 384, 512, 512]
    generator = torch.Generator().manual_seed(0)
    heads = {
        f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator)
        for i, c in enumerate(channels)
    }
    trunk = written(tmp_path / "trunk.pth", BARE)
    network = lpips_network("squeeze", trunk, written(tmp_path / "heads.pth", heads))
    for found, tensor in zip(heads_of(network), heads.values(), strict=True):
        assert torch.equal(found, tensor)
    del heads["lin6.model.1.weight"]
    file = written(tmp_path / "fewer.safetensors", heads)
    message = (
        f"The file must hold LPIPS' heads for 'squeeze', but {file} lacks 1 of 7 tensors, "
        "lin6.model.1.weight of shape (1, 512, 1, 1) first. Give the file of that network."
    )
    with error(message):
        lpips_network("squeeze", trunk, file)


def test_the_cache_is_used_without_a_network(hub: Path) -> None:
    hub.mkdir(parents=True)
    written(hub / HUB_FILE, TRUNK)
    assert_holds(lpips_network("squeeze", None, None), BARE)


def test_without_weights_one_message_says_all(hub: Path) -> None:
    message = (
        "The perceptual loss needs torchvision's squeezenet1_1 trained on ImageNet, but "
        f"{hub / HUB_FILE} does not exist, and downloading {URL} failed "
        "(URLError: <urlopen error no network here>). Download it on another machine, then put "
        "it there or pass its path as `trunk_weights`."
    )
    with error(message):
        lpips_network("squeeze", None, None)
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize(
    ("trunk", "url"),
    [
        ("vgg", "https://download.pytorch.org/models/vgg16-397923af.pth"),
        ("alex", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
        ("squeeze", URL),
    ],
)
def test_downloads_are_checked_against_the_hash_in_their_name(
    trunk: str, url: str, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(url: str, file: str, hash_prefix: str, progress: bool) -> None:
        asked.append((url, file, hash_prefix, progress))
        Path(file).write_bytes(b"not what was asked for")
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ValueError, match=r"failed \(RuntimeError: invalid hash value\)"):
        lpips_network(trunk, None, None)  # type: ignore[arg-type]
    name = url.rsplit("/", 1)[1]
    assert asked == [(url, str(hub / name), name.split("-")[-1].split(".")[0], False)]


def test_the_file_of_another_network(tmp_path: Path) -> None:
    file = written(tmp_path / "alexnet.pth", random_trunk("alexnet"))
    message = (
        f"The file must hold the features of torchvision's squeezenet1_1, but {file} lacks 49 of "
        "50 tensors, 0.weight of shape (64, 3, 3, 3) first. Give the file of that network."
    )
    with error(message):
        lpips_network("squeeze", file, None)


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "trunk.pth"
    with error(f"A file of weights must exist, but {file} does not. Check the path."):
        lpips_network("squeeze", file, None)


class Trap:
    """Writes a file when unpickled without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("cut.pth", "RuntimeError"),
        ("cut.safetensors", "SafetensorError"),
        ("text.pth", "UnpicklingError"),
        ("list.pth", "AttributeError"),
        ("pickle.pth", "UnpicklingError"),
    ],
)
def test_files_that_hold_no_weights(name: str, problem: str, tmp_path: Path) -> None:
    file, sprung = tmp_path / name, tmp_path / "sprung"
    if name.startswith("cut"):
        written(file, BARE)
        file.write_bytes(file.read_bytes()[:-999])
    elif name == "text.pth":
        file.write_text("<html>404</html>")
    else:
        torch.save([1, 2, 3] if name == "list.pth" else {"0.weight": Trap(sprung)}, file)
    message = (
        "A file of weights must be a whole .safetensors file or a state dict of `torch.save`, "
        f"but {file} is not ({problem}). Download it again."
    )
    with error(message):
        lpips_network("squeeze", file, None)
    assert not sprung.exists()


def test_unknown_trunks() -> None:
    with error("`trunk` must be one of vgg, alex, squeeze, but is 'vgg19'. Choose one of them."):
        lpips_network("vgg19", None, None)  # type: ignore[arg-type]


def test_lpips_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    message = (
        "The perceptual loss needs lpips, but it is not installed. Install it with "
        "`pip install 'dcs-tok[train]'`."
    )
    with error(message):
        module.import_lpips()


def test_building_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lpips_network("squeeze", written(tmp_path / "trunk.pth", BARE), None)
    assert capfd.readouterr() == ("", "")
