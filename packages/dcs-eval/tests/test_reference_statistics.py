"""Statistics in files: our own and ADM's, what they give back and what they refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dcs_eval import FeatureStatistics, frechet_distance
from dcs_eval.distribution.npz_pictures import NpzPictures
from dcs_eval.distribution.reference_statistics import ReferenceStatistics, read_adm_reference
from dcs_eval.features.feature_files import FeatureFiles, extract

from .errors import error
from .plain_features import MeanColours, coloured


def features(seed: int, count: int = 30, size: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) + seed


def pictures(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 6, 7, 3), dtype=np.uint8)


def adm(path: Path, **changes: Any) -> Path:
    """Write an npz as ADM's, small."""
    rows, spatial = features(1).numpy(), features(2, size=3).numpy()
    arrays = {
        "arr_0": pictures(),
        "mu": rows.mean(0),
        "sigma": np.cov(rows, rowvar=False),
        "mu_s": spatial.mean(0),
        "sigma_s": np.cov(spatial, rowvar=False),
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_adms_reference_is_read(tmp_path: Path) -> None:
    found = read_adm_reference(adm(tmp_path / "reference.npz"))
    assert found.statistics.space == "inception-2015-12-05"
    assert found.statistics.mean.dtype == torch.float64
    samples = FeatureStatistics.of(features(3))
    expected = frechet_distance(samples, FeatureStatistics.of(features(1)))
    distance = found.statistics.distance(samples, space="inception-2015-12-05")
    assert distance == pytest.approx(expected, rel=1e-9)
    assert found.spatial is not None and found.spatial.mean.shape == (3,)
    assert found.spatial.space != found.statistics.space
    assert found.pictures is not None and len(found.pictures) == 5


def test_what_adms_reference_lacks_is_none(tmp_path: Path) -> None:
    path = adm(tmp_path / "reference.npz", arr_0=None, mu_s=None, sigma_s=None)
    found = read_adm_reference(path)
    assert (found.pictures, found.spatial) == (None, None)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_pictures_of_an_npz_are_read_one_by_one(tmp_path: Path, save: Any) -> None:
    content = pictures(6)
    save(tmp_path / "samples.npz", content)
    found = NpzPictures(tmp_path / "samples.npz")
    assert (len(found), found.size) == (6, (6, 7))
    for number in (0, 1, 4, 2, 5, 5):
        expected = torch.from_numpy(content[number]).permute(2, 0, 1)[None].float() / 255
        assert torch.equal(found[number], expected)
    with pytest.raises(IndexError):
        found[6]
    save(tmp_path / "others.npz", content[::-1])
    assert NpzPictures(tmp_path / "others.npz").digest != found.digest


def test_pictures_of_an_npz_have_features(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", pictures(5))
    found = NpzPictures(tmp_path / "samples.npz")
    extract(found, MeanColours(), tmp_path / "out", samples_per_shard=2)
    expected = MeanColours()(torch.cat([found[number] for number in range(5)]))
    assert torch.allclose(FeatureFiles.open(tmp_path / "out").features(), expected, atol=1e-6)


def test_ours_come_back_as_they_were_written(tmp_path: Path) -> None:
    extract(coloured(9)[0], MeanColours(), tmp_path / "out")
    files = FeatureFiles.open(tmp_path / "out")
    written = ReferenceStatistics.of(
        files.statistics(), space=files.plan.space, pictures=files.plan.pictures
    )
    written.write(tmp_path / "reference.safetensors")
    found = ReferenceStatistics.read(tmp_path / "reference.safetensors")
    assert torch.equal(found.mean, written.mean)
    assert torch.equal(found.covariance, written.covariance)
    assert (found.space, found.count, found.pictures) == ("mean-colours", 9, files.plan.pictures)
    assert found.distance(files.statistics(), space="mean-colours") == pytest.approx(0, abs=1e-9)
    with error(
        "Both sets must lie in one feature space, but have 4 and 12 features. Compute both with "
        "the same network."
    ):
        found.distance(FeatureStatistics.of(features(1)), space="mean-colours")
    with error(
        "Samples and reference must lie in one feature space, but the samples are in "
        "squeezenet1_1-pool and the reference in mean-colours. Compute both with the same network."
    ):
        found.distance(files.statistics(), space="squeezenet1_1-pool")


def nan_at_the_end(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[-1] = np.nan
    return array


SKEW = np.diag([1.0, 2, 3, 4]) + np.eye(4, k=1)


ABSENT = (
    "Statistics must hold {} and {}, but {{path}} lacks {}. Give a file of statistics, not of "
    "pictures alone."
)
SHAPES = (
    "mu and sigma must have the shapes (D,) and (D, D), but in {{path}} they have {} and {}. "
    "Compute them again."
)
NUMBERS = "Statistics must be finite, but {} numbers of {} in {{path}} are not. Compute them again."
SYMMETRY = (
    "A covariance must be symmetric, with variances of at least 0, but sigma in {{path}} differs "
    "from its transpose by {}, and its least variance is {}. Compute it again."
)
EIGHT_BIT = (
    "arr_0 must hold 8-bit pictures (N, H, W, 3), but in {{path}} it holds {}. Save them as "
    "uint8, row by row."
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": None}, ABSENT.format("mu", "sigma", "sigma")),
        ({"mu": None, "sigma": None}, ABSENT.format("mu", "sigma", "mu and sigma")),
        ({"mu_s": None}, ABSENT.format("mu_s", "sigma_s", "mu_s")),
        ({"mu": np.zeros(3)}, SHAPES.format("(3,)", "(4, 4)")),
        ({"sigma": np.zeros(4)}, SHAPES.format("(4,)", "(4,)")),
        ({"mu": nan_at_the_end(np.zeros(4))}, NUMBERS.format(1, "mu")),
        ({"sigma": nan_at_the_end(np.eye(4))}, NUMBERS.format(4, "sigma")),
        ({"sigma": SKEW}, SYMMETRY.format(1, 1)),
        ({"sigma": -np.eye(4)}, SYMMETRY.format(0, -1)),
        ({"arr_0": np.zeros((2, 4, 4, 3))}, EIGHT_BIT.format("float64 (2, 4, 4, 3)")),
        ({"arr_0": pictures().transpose(0, 3, 1, 2)}, EIGHT_BIT.format("uint8 (5, 3, 6, 7)")),
        ({"arr_0": pictures(0)}, EIGHT_BIT.format("uint8 (0, 6, 7, 3)")),
        (
            {"arr_0": np.asfortranarray(pictures())},
            EIGHT_BIT.format("uint8 (5, 6, 7, 3) by columns"),
        ),
    ],
)
def test_adms_reference_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = adm(tmp_path / "reference.npz", **changes)
    with error(message.format(path=path)):
        read_adm_reference(path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = adm(tmp_path / "reference.npz", mu=np.array([print, print], dtype=object))
    with error(
        f"A reference of ADM's must be a whole npz without objects, but {path} is not (Object "
        "arrays cannot be loaded when allow_pickle=False). Download it again."
    ):
        read_adm_reference(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.npz"
    with error(
        f"A reference of ADM's must be a whole npz without objects, but {missing} is not ([Errno "
        f"2] No such file or directory: '{missing}'). Download it again."
    ):
        read_adm_reference(missing)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with error(
        f"A reference of ADM's must be a whole npz without objects, but {tmp_path / 'one.npy'} is "
        "not (one array and no npz). Download it again."
    ):
        read_adm_reference(tmp_path / "one.npy")
    np.savez(tmp_path / "named.npz", pictures=pictures())
    with error(
        f"Pictures in an npz must be called arr_0, but {tmp_path / 'named.npz'} has none of that "
        "name. Save them with `numpy.savez(path, pictures)`."
    ):
        NpzPictures(tmp_path / "named.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with error(
        f"A file of pictures must be a whole npz, but {tmp_path / 'text.npz'} is not (File is not "
        "a zip file). Check the path, or copy it again."
    ):
        NpzPictures(tmp_path / "text.npz")


def test_files_of_ours_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "reference.safetensors"
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"^Statistics must be a whole safetensors file, but "):
        ReferenceStatistics.read(path)
    save_file({"mean": torch.zeros(3)}, path)
    with error(
        f"A file of statistics must say that it is one, but {path} does not. Give a file that "
        "dcs-eval wrote."
    ):
        ReferenceStatistics.read(path)
    about = '{"kind": "dcs-feature-statistics", "format": %d, "space": "s"'
    about += ', "count": 2, "pictures": null}'
    save_file({"mean": torch.zeros(3)}, path, {"about": about % 2})
    with error(
        f"The format of statistics must be 1, but {path} has 2. Update dcs-eval, or compute them "
        "again."
    ):
        ReferenceStatistics.read(path)
    save_file({"mean": torch.zeros(3)}, path, {"about": about % 1})
    with error(
        f"Statistics must hold mean and covariance, but {path} lacks covariance. Give a file of "
        "statistics, not of pictures alone."
    ):
        ReferenceStatistics.read(path)
    save_file({"mean": torch.zeros(3), "covariance": torch.ones(3, 3)}, path, {"about": about % 1})
    found = ReferenceStatistics.read(path)
    assert (found.count, found.pictures, found.mean.dtype) == (2, None, torch.float64)
    with error("A covariance needs at least 2 pictures, but there is 1. Add pictures."):
        ReferenceStatistics.of(FeatureStatistics.of(torch.ones(1, 2)), space="s")
