"""The feature space of SqueezeNet: what goes in, what comes out, where weights come from."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch.nn.functional import interpolate

from dcs_common.torchvision_import import import_torchvision
from dcs_eval import SqueezeNetFeatures

from .conftest import photograph
from .errors import error
from .test_metrics import random_trunk


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(random_trunk(), tmp_path / "squeezenet.pth")
    return tmp_path / "squeezenet.pth"


def test_it_is_torchvisions_network_behind_torchvisions_preprocessing(weights: Path) -> None:
    models = import_torchvision("dcs-eval[metrics]").models
    network = models.squeezenet1_1(weights=None)
    network.load_state_dict(random_trunk())
    picture = photograph(0, 224, 224)
    preprocess = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms(resize_size=224)
    with torch.no_grad():
        expected = network.eval().features(preprocess(picture)).mean((2, 3))
    found = SqueezeNetFeatures(weights)(picture)
    assert found.shape == (1, SqueezeNetFeatures.size)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_pictures_of_any_size_are_resized_with_antialiasing(weights: Path) -> None:
    space = SqueezeNetFeatures(weights)
    picture = photograph(0, 320, 256)
    resized = interpolate(picture, (224, 224), mode="bilinear", antialias=True)
    assert torch.allclose(space(picture), space(resized), rtol=1e-4, atol=1e-6)


def test_a_batch_is_its_pictures_one_by_one(weights: Path) -> None:
    space = SqueezeNetFeatures(weights)
    pictures = torch.cat([photograph(seed) for seed in range(3)])
    singly = torch.cat([space(picture[None]) for picture in pictures])
    assert torch.allclose(space(pictures), singly, rtol=1e-4, atol=1e-6)
    assert not space(pictures).requires_grad


def test_features_alone_will_do(weights: Path, tmp_path: Path) -> None:
    bare = {k.removeprefix("features."): v for k, v in random_trunk().items() if "features" in k}
    torch.save(bare, tmp_path / "bare.pth")
    picture = photograph()
    assert torch.equal(
        SqueezeNetFeatures(weights)(picture), SqueezeNetFeatures(tmp_path / "bare.pth")(picture)
    )


def test_without_a_file_features_come_from_the_cache(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: object, **options: object) -> None:
        raise URLError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    with error(
        "The feature space squeezenet1_1-pool needs torchvision's squeezenet1_1 trained on "
        "ImageNet, but it is not in torch.hub's cache, and downloading it failed (<urlopen error "
        "no network here>). Download it on another machine and give its path as the weights."
    ):
        SqueezeNetFeatures()
    cached = tmp_path / "home" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    cached.write_bytes(weights.read_bytes())
    picture = photograph()
    assert torch.equal(SqueezeNetFeatures()(picture), SqueezeNetFeatures(weights)(picture))


def test_features_of_another_file_are_refused(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with error(
        "The file must hold the features of torchvision's squeezenet1_1, but "
        f"{tmp_path / 'other.pth'} lacks 50 of 50 tensors, 0.weight first. "
        "Give the file of that network."
    ):
        SqueezeNetFeatures(tmp_path / "other.pth")


def test_features_leave_the_random_state_alone(weights: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    SqueezeNetFeatures(weights)
    assert torch.equal(torch.get_rng_state(), before)
