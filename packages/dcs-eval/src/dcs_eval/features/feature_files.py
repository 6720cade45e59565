"""Features of many pictures in a folder: taken shard by shard, resumable, divided among jobs.

pictures --feature space--> shard-00000.safetensors, ... --> statistics, features, logits
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from dcs_common.sharded_folder import check_job, make_sharded_folder
from dcs_eval.distribution.frechet import FeatureStatistics
from dcs_eval.features.feature_plan import FEATURES_FILE, FeaturePlan
from dcs_eval.features.feature_shard import read_shard, write_shard
from dcs_eval.features.feature_space import ClassifyingSpace, FeatureSpace, SpatialSpace
from dcs_eval.features.picture_collection import Pictures, batches, picture_digest

SAMPLES_PER_SHARD = 1000
BATCH_SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What a job did.

    Attributes:
        plan: of the folder.
        written, kept: shards that this job wrote, and that were there before.
        missing: shards that the folder still lacks, the work of other jobs.
    """

    plan: FeaturePlan
    written: int
    kept: int
    missing: int


def extract(
    pictures: Pictures,
    space: FeatureSpace,
    folder: str | PathLike[str],
    *,
    jobs: int = 1,
    job: int = 0,
    samples_per_shard: int = SAMPLES_PER_SHARD,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int], object] = lambda pictures: None,
) -> Extraction:
    """Write the features of pictures, and their logits where the space gives some, into a folder.

    Stopped at any moment, it continues with the first shard that is not whole, and ends with the
    same bytes. Any number of jobs end with the same bytes, too: batches never cross a shard.
    Pictures are rounded to 8 bits, as files hold them. Memory holds one shard's features and one
    batch of pictures.

    Args:
        pictures: to read, each once: files, an npz, or a tensor.
        space: the feature space.
        folder: made if missing; holds features of these pictures in this space, or nothing.
        jobs: how many share the work; job ``i`` makes every ``jobs``-th shard from ``i`` on.
        job: this one, from 0.
        samples_per_shard: pictures in a shard.
        batch_size: pictures that go through the network at once, where neighbours have one size.
        progress: told of how many pictures features are there, after each shard of this job.

    Raises:
        ValueError: if there are no pictures, the folder holds something else, a shard is damaged,
            or a picture or its features are not usable.
    """
    folder, count = Path(folder), len(pictures)
    _check(count, jobs, job, samples_per_shard, batch_size)
    plan = FeaturePlan(
        space=space.name,
        size=space.size,
        classes=space.classes if isinstance(space, ClassifyingSpace) else None,
        spatial=space.spatial_size if isinstance(space, SpatialSpace) else None,
        samples=count,
        samples_per_shard=samples_per_shard,
        pictures=picture_digest(pictures),
    )
    make_sharded_folder(folder, FEATURES_FILE, "one of features")
    plan.write(folder)
    numbers = range(job, plan.num_shards, jobs)
    kept = 0
    for number in numbers:
        path, indices = plan.shard_path(folder, number), plan.indices(number)
        if path.is_file():
            read_shard(path, plan, number)
            kept += 1
        else:
            write_shard(path, plan, number, _tensors(pictures, space, indices, batch_size))
        progress(len(indices))
    return Extraction(
        plan=plan,
        written=len(numbers) - kept,
        kept=kept,
        missing=len(plan.missing_shards(folder)),
    )


@dataclass(frozen=True, slots=True)
class FeatureFiles:
    """A complete folder of features.

    Attributes:
        folder: where it is.
        plan: what it holds.
    """

    folder: Path
    plan: FeaturePlan

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> "FeatureFiles":
        """Open a folder that :func:`extract` has filled.

        Raises:
            ValueError: if it is none, or shards are missing.
        """
        folder = Path(folder)
        plan = FeaturePlan.read(folder)
        missing = plan.missing_shards(folder)
        if missing:
            raise ValueError(
                f"Features must be complete, but {folder} lacks {len(missing)} of "
                f"{plan.num_shards} shards, number {missing[0]} first. Continue the extraction."
            )
        return cls(folder, plan)

    def __len__(self) -> int:
        return self.plan.samples

    def statistics(self) -> FeatureStatistics:
        """Return count, mean and scatter, merged shard by shard in order.

        Raises:
            ValueError: if a shard is damaged.
        """
        return self._statistics("features")

    def spatial_statistics(self) -> FeatureStatistics:
        """Return the same of the spatial features.

        Raises:
            ValueError: if the space has none, or a shard is damaged.
        """
        if self.plan.spatial is None:
            raise ValueError(
                f"Spatial features need a space that has some, but {self.folder} is of "
                f"{self.plan.space} without. Extract them with SpatialInceptionFeatures."
            )
        return self._statistics("spatial")

    def features(self) -> Tensor:
        """Return the features (N, size) of all pictures, in order.

        Raises:
            ValueError: if a shard is damaged.
        """
        return torch.cat(list(self._shards("features")))

    def logits(self) -> Tensor:
        """Return the logits (N, classes) of all pictures, in order.

        Raises:
            ValueError: if the space has none, or a shard is damaged.
        """
        if self.plan.classes is None:
            raise ValueError(
                f"Logits need a feature space that classifies, but {self.folder} is of "
                f"{self.plan.space}, which does not. Use the Inception network."
            )
        return torch.cat(list(self._shards("logits")))

    def _statistics(self, name: str) -> FeatureStatistics:
        shards = self._shards(name)
        merged = FeatureStatistics.of(next(shards))
        for rows in shards:
            merged = merged.merge(FeatureStatistics.of(rows))
        return merged

    def _shards(self, name: str) -> Iterator[Tensor]:
        for number in range(self.plan.num_shards):
            path = self.plan.shard_path(self.folder, number)
            yield from read_shard(path, self.plan, number, name)


def _tensors(
    pictures: Pictures, space: FeatureSpace, indices: range, batch_size: int
) -> dict[str, Tensor]:
    """Return what a shard holds."""
    found: dict[str, list[Tensor]] = {}
    for batch in batches(pictures, indices, batch_size):
        some: tuple[Tensor, ...]
        if isinstance(space, SpatialSpace):
            some = space.features_logits_and_spatial(batch)
        elif isinstance(space, ClassifyingSpace):
            some = space.features_and_logits(batch)
        else:
            some = (space(batch),)
        # Without logits or spatial features, `some` is shorter than the names.
        for name, rows in zip(("features", "logits", "spatial"), some, strict=False):
            found.setdefault(name, []).append(rows.detach().cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


def _check(count: int, jobs: int, job: int, samples_per_shard: int, batch_size: int) -> None:
    if count < 1:
        raise ValueError("Features need at least 1 picture, but there is none. Add pictures.")
    check_job(jobs, job)
    if min(samples_per_shard, batch_size) < 1:
        raise ValueError(
            "`samples_per_shard` and `batch_size` must be at least 1, but are "
            f"{samples_per_shard} and {batch_size}. The usual are {SAMPLES_PER_SHARD} and "
            f"{BATCH_SIZE}."
        )
