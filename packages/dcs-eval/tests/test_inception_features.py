"""The Inception network of FID: torch-fidelity's figures, and weights that are what they say."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from dcs_common.torchvision_import import import_torchvision
from dcs_eval import FeatureStatistics, frechet_distance
from dcs_eval.distribution.inception_score import inception_score
from dcs_eval.distribution.kernel_distance import kernel_distance
from dcs_eval.distribution.precision_recall import precision_recall
from dcs_eval.features import inception
from dcs_eval.features.feature_space import ClassifyingSpace
from dcs_eval.features.inception import INCEPTION_SHA256, InceptionFeatures

from .conftest import photograph
from .errors import error
from .formula_weights import formula_weights

import_torchvision("dcs-eval[inception]")
torch_fidelity = pytest.importorskip("torch_fidelity")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file with the network of a formula."""
    extractor = torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        empty = tmp_path_factory.mktemp("inception") / "inception.pth"
        torch.save({}, empty)
        patch.setattr(extractor, "load_state_dict", lambda network, state: None)
        network = extractor("network", ["2048"], feature_extractor_weights_path=empty)
    torch.save(formula_weights(network.state_dict()), empty)
    yield empty


@pytest.fixture(scope="module")
def space(weights: Path) -> InceptionFeatures:
    before = torch.get_rng_state()
    made = InceptionFeatures(weights, checksum=None)
    assert torch.equal(torch.get_rng_state(), before), "the random state is not left alone"
    return made


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_its_figures_are_those_of_torch_fidelity(space: InceptionFeatures, weights: Path) -> None:
    """From 8-bit pictures to figures, with one network; counts differ. FID of 2048 features takes
    its library minutes, and is compared on some of them.
    """
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc, utils

    real = torch.cat([photograph(seed, 40, 36) for seed in range(4)])
    fake = torch.cat([photograph(seed, 40, 36).flip(3) for seed in range(2, 7)])
    layers = ["2048", "logits_unbiased"]
    extractor = utils.create_feature_extractor(
        "inception-v3-compat", layers, cuda=False, feature_extractor_weights_path=weights
    )
    with torch.no_grad():
        (fake_2048, fake_logits), (real_2048, _) = (
            extractor(pictures.mul(255).round().byte()) for pictures in (fake, real)
        )
    features, logits = space.features_and_logits(fake)
    others = space(real)

    # Random classifiers take all pictures for one class: what tells them apart is stretched.
    stretched, theirs_stretched = (
        3 * (some - some.mean(0)) / (some - some.mean(0)).std() for some in (logits, fake_logits)
    )
    score = inception_score(stretched, splits=2)
    theirs = metric_isc.isc_features_to_metric(theirs_stretched, splits=2, shuffle=False)
    assert score.mean > 1.05
    assert score.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-4)
    assert score.deviation == pytest.approx(theirs["inception_score_std"], rel=1e-4)

    kernel = kernel_distance(features[:4], others, subsets=1, subset_size=4)
    theirs = metric_kid.kid_features_to_metric(
        fake_2048[:4].double(), real_2048.double(), kid_subsets=1, kid_subset_size=4, verbose=False
    )
    assert kernel.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)

    shares = precision_recall(features, others, neighbours=1)
    theirs = metric_prc.prc_features_to_metric(
        fake_2048, real_2048, prc_neighborhood=1, verbose=False
    )
    assert shares.precision == pytest.approx(theirs["precision"])
    assert shares.recall == pytest.approx(theirs["recall"])

    theirs = metric_fid.fid_statistics_to_metric(
        *(
            metric_fid.fid_features_to_statistics(some[:, :64].double())
            for some in (fake_2048, real_2048)
        ),
        verbose=False,
    )
    distance = frechet_distance(
        *(FeatureStatistics.of(some[:, :64]) for some in (features, others))
    )
    assert distance == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)


def test_a_batch_is_its_pictures_one_by_one_and_rounded(space: InceptionFeatures) -> None:
    pictures = torch.cat([photograph(seed, 32, 48) for seed in range(2)])
    features, logits = space.features_and_logits(pictures)
    assert (features.shape, logits.shape) == ((2, 2048), (2, 1008))
    assert isinstance(space, ClassifyingSpace)
    one = space((pictures[1:] * 255 + 0.4) / 255)
    assert torch.allclose(one, features[1:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(features[0], features[1], rtol=1e-2)


def test_unknown_weights_are_refused_or_named(weights: Path, space: InceptionFeatures) -> None:
    assert (space.name, space.sha256) == (
        f"inception-unverified-{digest(weights)[:8]}",
        digest(weights),
    )
    with error(
        f"The weights must have the SHA-256 {INCEPTION_SHA256}, but {weights} has "
        f"{digest(weights)}. Copy the file again, or pass `checksum=None` for a network of your "
        "own, whose figures cannot be compared with others."
    ):
        InceptionFeatures(weights)


def test_the_published_weights_have_the_published_name(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "INCEPTION_SHA256", digest(weights))
    monkeypatch.setattr(inception, "_network", lambda file: torch.nn.Identity())
    assert (
        InceptionFeatures(weights, checksum=digest(weights).upper()).name == "inception-2015-12-05"
    )


@pytest.mark.parametrize("name", inception.INCEPTION_FILES)
def test_without_a_file_they_come_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints"
    with error(
        "FID needs the Inception weights of 2015-12-05, but torch.hub's cache has no "
        f"{cached / inception.INCEPTION_FILES[0]}. Download https://github.com/toshas/"
        "torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth to "
        "there, or pass the file's path as `weights`."
    ):
        InceptionFeatures()
    assert not cached.exists()
    cached.mkdir(parents=True)
    (cached / name).write_bytes(b"cut")
    assert inception.find_inception() == cached / name
    with pytest.raises(
        ValueError, match=rf"^The weights must have the SHA-256 {INCEPTION_SHA256}, "
    ):
        InceptionFeatures()


def test_they_are_downloaded_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: object, **options: object) -> None:
        raise URLError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    place = tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    with error(
        "FID needs the Inception weights of 2015-12-05, but downloading https://github.com/toshas/"
        "torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth failed "
        "(<urlopen error no network here>). Download it on another machine, and put it at "
        f"{place}."
    ):
        InceptionFeatures(download=True)
    assert not place.exists()


def test_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"^The file must hold the Inception network of torch-fidelity, but "
    ):
        InceptionFeatures(tmp_path / "other.pth", checksum=None)


def test_without_torch_fidelity_the_extra_is_named(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "find_spec", lambda name: None)
    with error(
        "torch-fidelity is needed here, but it is not installed. Install it with "
        "`pip install 'dcs-eval[inception]'`."
    ):
        InceptionFeatures(weights)
