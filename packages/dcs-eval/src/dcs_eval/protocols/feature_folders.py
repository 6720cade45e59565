"""Features of everything that a protocol compares, in folders side by side, shared among jobs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dcs_eval.distribution.frechet import frechet_distance
from dcs_eval.features.feature_files import (
    BATCH_SIZE,
    SAMPLES_PER_SHARD,
    FeatureFiles,
    extract,
)
from dcs_eval.features.feature_space import FeatureSpace
from dcs_eval.features.picture_collection import Pictures
from dcs_eval.labelled_files import Media
from dcs_eval.progress import bar

#: Of the features of what is compared with.
REFERENCE_FOLDER = "reference"
# A clip is as large as many pictures, and takes as long.
_OF_SHARD: dict[Media, int] = {"picture": SAMPLES_PER_SHARD, "clip": 64}
_OF_BATCH: dict[Media, int] = {"picture": BATCH_SIZE, "clip": 8}


def level_folder(level: int) -> str:
    """Return the name of the folder of samples or decodes of a level count."""
    return f"level-{level}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One of several jobs that take features together.

    Attributes:
        jobs: how many there are.
        job: which of them this is, from 0.

    Raises:
        ValueError: if there is no such job.
    """

    jobs: int = 1
    job: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.job < self.jobs:
            raise ValueError(
                f"`--job` must be between 0 and `--jobs` - 1, but is {self.job} of {self.jobs}. "
                "The first of N jobs has the number 0."
            )


def take_features(
    sets: Mapping[str, Pictures],
    space: FeatureSpace,
    folder: Path,
    *,
    media: Media = "picture",
    share: Share | None = None,
) -> str | None:
    """Write features of several sets, each into a folder of its own below ``folder``.

    What lies there complete is not computed again.

    Args:
        sets: by the names of their folders.
        space: the feature space.
        folder: made if it is not there.
        media: pictures or clips.
        share: this job's; None for the only one.

    Returns:
        What other jobs have still to do, in words; None if everything is there.

    Raises:
        ValueError: if a folder holds other features, or a picture or clip is not usable.
    """
    share = share or Share()
    folder.mkdir(parents=True, exist_ok=True)
    plans = {}
    for name, pictures in sets.items():
        with bar(f"features of {name}", len(pictures)) as progress:
            plans[folder / name] = extract(
                pictures,
                space,
                folder / name,
                jobs=share.jobs,
                job=share.job,
                samples_per_shard=_OF_SHARD[media],
                batch_size=_OF_BATCH[media],
                progress=progress,
            ).plan
    # Counted after all of this job's work, so that whichever ends last finds none.
    missing = sum(len(plan.missing_shards(place)) for place, plan in plans.items())
    if not missing:
        return None
    shards = sum(plan.num_shards for plan in plans.values())
    return (
        f"job {share.job} of {share.jobs} is done: {missing} of {shards} shards are still missing "
        f"in {folder}; nothing was measured. The last job measures, or any that is run again."
    )


def level_distances(levels: Iterable[int], folder: Path, reference: str) -> dict[int, float]:
    """Return the Fréchet distance of every level's features to those of a reference, by level.

    Args:
        levels: of samples or decodes.
        folder: of all features.
        reference: name of the folder in it that they are compared with.

    Raises:
        ValueError: if features are missing.
    """
    real = FeatureFiles.open(folder / reference).statistics()
    return {
        level: frechet_distance(FeatureFiles.open(folder / level_folder(level)).statistics(), real)
        for level in levels
    }
