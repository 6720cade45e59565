"""Features in a folder: the same bytes however they came about, and refusals."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_eval import FeatureStatistics
from dcs_eval.eight_bit import to_image
from dcs_eval.features import feature_shard
from dcs_eval.features.feature_files import FeatureFiles, extract
from dcs_eval.features.feature_plan import FeaturePlan
from dcs_eval.features.feature_space import ClassifyingSpace
from dcs_eval.labelled_files import find_labelled

from .errors import error
from .plain_features import MeanColours, coloured


class SeenColours(MeanColours):
    """Mean colours, and which of three is strongest."""

    classes = 3

    def features_and_logits(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return self(pictures), 9 * pictures.mean((2, 3))


class StoppedError(Exception):
    pass


class StopsAfter(MeanColours):
    def __init__(self, batches: int) -> None:
        super().__init__()
        self._batches = batches

    def __call__(self, pictures: Tensor) -> Tensor:
        if len(self.sizes) == self._batches:
            raise StoppedError
        return super().__call__(pictures)


PICTURES = coloured(11)[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_they_are_what_the_space_gives_in_order(tmp_path: Path) -> None:
    space = SeenColours()
    assert isinstance(space, ClassifyingSpace) and not isinstance(MeanColours(), ClassifyingSpace)
    done = extract(PICTURES, space, tmp_path / "found", samples_per_shard=4, batch_size=3)
    assert (done.written, done.kept, done.missing) == (3, 0, 0)
    assert space.sizes == [3, 1, 3, 1, 3]  # batches never cross a shard
    found = FeatureFiles.open(tmp_path / "found")
    assert len(found) == 11 and found.plan.space == "mean-colours"
    features, logits = space.features_and_logits(PICTURES)
    assert torch.allclose(found.features(), features, atol=1e-6)
    assert torch.allclose(found.logits(), logits, atol=1e-5)
    whole, merged = FeatureStatistics.of(found.features()), found.statistics()
    assert merged.count == 11
    assert torch.allclose(merged.mean, whole.mean, rtol=1e-12)
    assert torch.allclose(merged.scatter, whole.scatter, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("jobs", [2, 3, 5])
def test_any_number_of_jobs_writes_the_same_bytes(tmp_path: Path, jobs: int) -> None:
    extract(PICTURES, SeenColours(), tmp_path / "one", samples_per_shard=3)
    for job in reversed(range(jobs)):
        done = extract(
            PICTURES, SeenColours(), tmp_path / "many", jobs=jobs, job=job, samples_per_shard=3
        )
        assert done.kept == 0
    assert done.missing == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


@given(batches=st.integers(0, 4))
def test_stopped_and_continued_is_uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, batches: int
) -> None:
    folder = tmp_path_factory.mktemp("features")
    shards = {"samples_per_shard": 4, "batch_size": 3}
    extract(PICTURES, MeanColours(), folder / "one", **shards)
    with pytest.raises(StoppedError):
        extract(PICTURES, StopsAfter(batches), folder / "two", **shards)
    space = MeanColours()
    done = extract(PICTURES, space, folder / "two", **shards)
    assert contents(folder / "one") == contents(folder / "two")
    assert (done.kept, done.written) == (batches // 2, 3 - batches // 2)
    assert sum(space.sizes) == 11 - 4 * (batches // 2)  # nothing is computed twice


@given(batch_size=st.integers(1, 12))
def test_batches_change_nothing(tmp_path_factory: pytest.TempPathFactory, batch_size: int) -> None:
    folder = tmp_path_factory.mktemp("features")
    extract(PICTURES, MeanColours(), folder, samples_per_shard=5, batch_size=batch_size)
    found = FeatureFiles.open(folder).features()
    assert torch.allclose(found, MeanColours()(PICTURES), atol=1e-6)


def test_files_are_read_shard_by_shard_and_may_differ_in_size(tmp_path: Path) -> None:
    place = tmp_path / "pictures" / "red"
    place.mkdir(parents=True)
    sides = (24, 24, 16, 24)
    for number, side in enumerate(sides):
        picture = coloured(1, seed=number, side=side)[0]
        to_image(picture).save(place / f"{number}.png")
    files = find_labelled([tmp_path / "pictures"])
    told: list[int] = []
    space = MeanColours()
    extract(files, space, tmp_path / "out", samples_per_shard=3, progress=told.append)
    assert (space.sizes, told) == ([2, 1, 1], [3, 1])
    expected = torch.cat([MeanColours()(files[number]) for number in range(4)])
    assert torch.allclose(FeatureFiles.open(tmp_path / "out").features(), expected, atol=1e-6)
    # A zip of the same files is the same set, elsewhere or not.
    with zipfile.ZipFile(tmp_path / "same.zip", "w") as archive:
        for path in sorted(place.iterdir()):
            archive.write(path, f"red/{path.name}")
    zipped = find_labelled([tmp_path / "same.zip"])
    assert extract(zipped, space, tmp_path / "out", samples_per_shard=3).kept == 2
    # The same names with other content are not, even of as many bytes.
    first = (place / "0.png").read_bytes()
    (place / "0.png").write_bytes(first[:-1] + b"x")
    with pytest.raises(ValueError, match="differs: digest of the pictures '"):
        extract(files, space, tmp_path / "out", samples_per_shard=3)
    (place / "0.png").write_bytes(first)
    to_image(coloured(1, seed=9, side=12)[0]).save(place / "3.png")
    with pytest.raises(ValueError, match="differs: digest of the pictures '"):
        extract(files, space, tmp_path / "out", samples_per_shard=3)


def test_pictures_are_rounded_as_files_hold_them(tmp_path: Path) -> None:
    off = (PICTURES * 255 + 0.3) / 255
    extract(off.clamp(max=1), MeanColours(), tmp_path / "off")
    extract(PICTURES, MeanColours(), tmp_path / "on")
    found = [FeatureFiles.open(tmp_path / name).features() for name in ("off", "on")]
    assert torch.equal(*found)


def test_one_picture_has_features_but_no_covariance(tmp_path: Path) -> None:
    extract(PICTURES[:1], MeanColours(), tmp_path / "out")
    statistics = FeatureFiles.open(tmp_path / "out").statistics()
    with error("A covariance needs at least 2 pictures, but there is 1. Add pictures."):
        _ = statistics.covariance


def test_features_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    class Broken(MeanColours):
        def __call__(self, pictures: Tensor) -> Tensor:
            found = super().__call__(pictures)
            found[1, 0] = torch.nan
            return found

    with error(
        "Features must be finite, but 1 of the features of pictures 0 to 3 are not. "
        "Check the pictures and the weights."
    ):
        extract(PICTURES, Broken(), tmp_path / "out", samples_per_shard=4)
    assert list(contents(tmp_path / "out")) == ["features.json"]


def test_what_was_begun_is_continued_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    extract(PICTURES, MeanColours(), folder, samples_per_shard=4, jobs=3, job=1)
    with error(
        f"Features must be complete, but {folder} lacks 2 of 3 shards, number 0 first. "
        "Continue the extraction."
    ):
        FeatureFiles.open(folder)
    with error(
        f"Features must be continued as they were begun, but {folder} differs: logits None there "
        "and 3 here; samples_per_shard 4 there and 5 here. Name another folder."
    ):
        extract(PICTURES, SeenColours(), folder, samples_per_shard=5)
    extract(PICTURES, MeanColours(), folder, samples_per_shard=4)
    with error(
        f"Spatial features need a space that has some, but {folder} is of mean-colours without. "
        "Extract them with SpatialInceptionFeatures."
    ):
        FeatureFiles.open(folder).spatial_statistics()
    with error(
        f"Logits need a feature space that classifies, but {folder} is of mean-colours, which "
        "does not. Use the Inception network."
    ):
        FeatureFiles.open(folder).logits()


def test_damage_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    plan = extract(PICTURES, MeanColours(), folder, samples_per_shard=4).plan
    first, second = plan.shard_path(folder, 0), plan.shard_path(folder, 1)
    whole = first.read_bytes()
    first.write_bytes(whole[:-5])
    for use in (
        lambda: FeatureFiles.open(folder).statistics(),
        lambda: extract(PICTURES, MeanColours(), folder, samples_per_shard=4),
    ):
        with pytest.raises(
            ValueError, match=r"^A shard must be a whole safetensors file, but .*00000.safetensors "
        ):
            use()
    first.write_bytes(second.read_bytes())
    with error(
        f"A shard must belong to its folder, as shard 0 of {plan.digest}, but {first} says "
        f"{{'plan': '{plan.digest}', 'shard': 1}}. Delete it and extract again."
    ):
        FeatureFiles.open(folder).features()
    wide = {"features": torch.zeros(4, 12), "logits": torch.zeros(4, 2)}
    feature_shard.write_shard(first, plan, 0, wide)
    with error(
        f"A shard must hold {{'features': (4, 12)}}, but {first} holds "
        "{'features': (4, 12), 'logits': (4, 2)}. Delete it and extract again."
    ):
        FeatureFiles.open(folder).features()


def test_plans_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with error(
        f"A folder of features must hold features.json, but {tmp_path} does not. "
        "Check the path, or extract them."
    ):
        FeatureFiles.open(tmp_path)
    path = tmp_path / "features.json"
    for content in ("{", "[]", '{"kind": "other"}'):
        path.write_text(content)
        with error(
            f"features.json must describe features, but {path} does not. Check the path, or "
            "extract them again."
        ):
            FeatureFiles.open(tmp_path)
    path.write_text(json.dumps({"kind": "dcs-features", "format": 9}))
    with error(
        f"The format of features must be 2, but {path} has 9. Update dcs-eval, or extract them "
        "again."
    ):
        FeatureFiles.open(tmp_path)
    plan = {"space": "s", "size": 0, "classes": None, "spatial": None}
    plan |= {"samples": 1, "samples_per_shard": 1}
    path.write_text(json.dumps({"kind": "dcs-features", "format": 2, "pictures": "", **plan}))
    with error(
        f"features.json must be consistent, but {path} is not (a number below 1). Extract them "
        "again."
    ):
        FeaturePlan.read(tmp_path)


def test_extraction_errors_teach(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with error("Features need at least 1 picture, but there is none. Add pictures."):
        extract(PICTURES[:0], MeanColours(), folder)
    with error(
        "`job` must be between 0 and `jobs` - 1, but is 2 of 2. The first of N jobs has the "
        "number 0."
    ):
        extract(PICTURES, MeanColours(), folder, jobs=2, job=2)
    with error(
        "`samples_per_shard` and `batch_size` must be at least 1, but are 0 and 64. "
        "The usual are 1000 and 64."
    ):
        extract(PICTURES, MeanColours(), folder, samples_per_shard=0)
    assert not folder.exists()
    with error(f"The output's folder must exist, but {folder} does not. Create it first."):
        extract(PICTURES, MeanColours(), folder / "deeper")
    (tmp_path / "file").write_text("")
    with error(
        "The output must be a new folder or one of features, but "
        f"{tmp_path} holds something else. Name another."
    ):
        extract(PICTURES, MeanColours(), tmp_path)
    with error(
        f"The output must be a folder, but {tmp_path / 'file'} cannot be one (File exists). Name "
        "another."
    ):
        extract(PICTURES, MeanColours(), tmp_path / "file")
    with error(
        "Pictures must lie in [0, 1], but number 0 has values from 2 to 2. Clamp or rescale them."
    ):
        extract(torch.full((1, 3, 4, 4), 2.0), MeanColours(), folder)
    with error(
        "Pictures must be float tensors (1, 3, H, W) in [0, 1], or clips (1, 3, T, H, W), but "
        "number 0 is torch.uint8 (1, 3, 4, 4). Pass RGB."
    ):
        extract(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), MeanColours(), tmp_path / "other")
    space = MeanColours()
    space.size = 11
    with error(
        "The feature space mean-colours must give features of the shape (11, 11) for 11 pictures, "
        "but gave (11, 12). Correct the space."
    ):
        extract(PICTURES, space, tmp_path / "third")
