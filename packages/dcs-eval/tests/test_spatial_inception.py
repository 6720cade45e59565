"""sFID's features: which layer, which channels, in which order, and against which statistics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dcs_eval import (
    FeatureFiles,
    FeatureStatistics,
    InceptionFeatures,
    SpatialInceptionFeatures,
    SpatialSpace,
    extract,
    frechet_distance,
    read_adm_reference,
)
from dcs_eval.distribution.reference_statistics import ADM_SPATIAL_SPACE
from dcs_eval.features.spatial_inception import SpatialInceptionFeatures as Spatial
from dcs_eval.protocols import spaces
from dcs_eval.protocols.presets import PROTOCOLS

from .conftest import photograph
from .test_inception_features import weights as weights


@pytest.fixture(scope="module")
def space(weights: Path) -> SpatialInceptionFeatures:
    return SpatialInceptionFeatures(weights, checksum=None)


def by_hand(space: Spatial, pictures: Tensor) -> Tensor:
    """The graph's ``mixed_6/conv``, its 7 blocks counted from ``mixed``: (N, 192, 17, 17)."""
    network = space._network
    blocks = ("5b", "5c", "5d", "6a", "6b", "6c")
    stem = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1")
    stem = (*stem, "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2")
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x,
    )

    x = interpolate_bilinear_2d_like_tensorflow1x(
        pictures.mul(255).round(), size=(299, 299), align_corners=False
    )
    x = (x - 128) / 128
    for name in (*stem, *(f"Mixed_{block}" for block in blocks)):
        x = getattr(network, name)(x)
    branch = network.Mixed_6d.branch1x1
    return torch.relu(branch.bn(branch.conv(x)))


def test_they_are_seven_channels_of_the_seventh_block(
    space: SpatialInceptionFeatures, weights: Path
) -> None:
    pictures = torch.cat([photograph(seed, 32, 48) for seed in range(2)])
    features, logits, spatial = space.features_logits_and_spatial(pictures)
    assert isinstance(space, SpatialSpace)
    assert spatial.shape == (2, space.spatial_size) == (2, 2023)
    with torch.no_grad():
        maps = by_hand(space, pictures)
    assert maps.shape == (2, 192, 17, 17)
    # TensorFlow's order: the channel changes fastest, then the column, then the row.
    for row, column, channel in (
        (0, 0, 0),
        (0, 0, 6),
        (0, 1, 0),
        (1, 0, 0),
        (16, 16, 6),
        (5, 3, 2),
    ):
        place = (row * 17 + column) * 7 + channel
        assert torch.allclose(spatial[:, place], maps[:, channel, row, column], atol=1e-5)
    assert 0 < float((spatial == 0).float().mean()) < 1  # after the ReLU, and not all of it cut
    # The pass is the same as without them.
    plain = InceptionFeatures(weights, checksum=None).features_and_logits(pictures)
    assert torch.equal(plain[0], features) and torch.equal(plain[1], logits)
    assert space._spatial is None, "nothing is kept after the pass"


class Places:
    """A spatial space without a network: features, logits and five numbers of their own."""

    name, size, classes, spatial_size = "inception-2015-12-05", 3, 2, 5

    def __call__(self, pictures: Tensor) -> Tensor:
        return pictures.mean((2, 3))

    def features_and_logits(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return self(pictures), self(pictures)[:, :2]

    def features_logits_and_spatial(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return *self.features_and_logits(pictures), pictures[:, 0, 0, :5]


def test_distances_are_to_the_references_own_spatial_statistics(tmp_path: Path) -> None:
    """Spatial features all moved by 1/2: the distance is 5 / 4, whatever their covariance is."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(128, (12, 3, 6, 7), generator=generator).float() / 255
    extract(pictures, Places(), tmp_path / "features", samples_per_shard=5)
    files = FeatureFiles.open(tmp_path / "features")
    assert (files.plan.spatial, files.features().shape, files.logits().shape) == (
        5,
        (12, 3),
        (12, 2),
    )
    spatial = pictures[:, 0, 0, :5].double()
    expected = FeatureStatistics.of(spatial)
    assert torch.allclose(files.spatial_statistics().mean, expected.mean, atol=1e-6)
    np.savez(
        tmp_path / "adm.npz",
        mu=np.zeros(3),
        sigma=np.eye(3),
        mu_s=(spatial.mean(0) + 0.5).numpy(),
        sigma_s=np.cov(spatial.numpy(), rowvar=False),
    )
    reference = read_adm_reference(tmp_path / "adm.npz").spatial
    assert reference is not None and reference.space == ADM_SPATIAL_SPACE
    found = reference.distance(files.spatial_statistics(), space=ADM_SPATIAL_SPACE)
    assert found == pytest.approx(5 / 4, rel=1e-4)
    moved = FeatureStatistics.of(spatial + 0.5)
    assert found == pytest.approx(frechet_distance(expected, moved), rel=1e-4)


def test_gfid_alone_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "SpatialInceptionFeatures", lambda *_: "spatial")
    monkeypatch.setattr(spaces, "InceptionFeatures", lambda *_: "plain")
    found = {
        name: spaces.protocol_space(PROTOCOLS[name], None, torch.device("cpu"))
        for name in ("imagenet256-gfid", "imagenet256-rfid")
    }
    assert found == {"imagenet256-gfid": "spatial", "imagenet256-rfid": "plain"}
