"""Samples against ADM's reference: the figures that papers print of ImageNet."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from dcs_eval.distribution.inception_score import InceptionScore, inception_score
from dcs_eval.distribution.kernel_distance import SUBSET_SIZE, KernelDistance, kernel_distance
from dcs_eval.distribution.precision_recall import PrecisionRecall, precision_recall
from dcs_eval.distribution.reference_statistics import (
    SPATIAL_PART,
    AdmReference,
    ReferenceStatistics,
)
from dcs_eval.features.feature_files import FeatureFiles
from dcs_eval.features.picture_collection import Pictures
from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.metrics import import_metrics
from dcs_eval.protocols.feature_folders import REFERENCE_FOLDER, level_folder
from dcs_eval.protocols.protocol import Protocol
from dcs_eval.protocols.record import ProtocolRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class AdmFigures:
    """What ADM's evaluation says of the samples of one level.

    Attributes:
        level: how many levels were decoded.
        frechet: FID, where the network is the published one.
        spatial: sFID, likewise; None where the reference or the network has no spatial features.
        score: in splits of samples whose order the protocol's seed draws.
        kernel: against the reference's pictures; KID on the published network.
        coverage: precision and recall, against the reference's pictures.
    """

    level: int
    frechet: float
    spatial: float | None
    score: InceptionScore
    kernel: KernelDistance
    coverage: PrecisionRecall


def adm_sets(samples: Mapping[int, LabelledFiles], reference: AdmReference) -> dict[str, Pictures]:
    """Return the pictures whose features are compared, by the names of their folders.

    Args:
        samples: by level.
        reference: with pictures.

    Raises:
        ValueError: if torchmetrics is not installed, or the reference has no pictures.
    """
    import_metrics("torchmetrics")  # fail now rather than after hours
    if reference.pictures is None:
        raise ValueError(
            "Precision and recall need pictures of the reference, but it has none. Use the npz as "
            "it was published."
        )
    levels = {level_folder(level): files for level, files in samples.items()}
    return {REFERENCE_FOLDER: reference.pictures, **levels}


def measure_against_adm(
    levels: Iterable[int], reference: AdmReference, folder: Path, *, space: str, seed: int = 0
) -> tuple[AdmFigures, ...]:
    """Measure samples of every level against ADM's reference, by the features of both.

    Files lie class by class, and a split of few classes would make the Inception score lower:
    their order is drawn anew for it.

    Args:
        levels: of the samples.
        reference: of which they are.
        folder: of the features.
        space: name of the feature space.
        seed: of the order, and of what the kernel distance draws.

    Raises:
        ValueError: if features are missing, or the reference is of another network.
    """
    real = FeatureFiles.open(folder / REFERENCE_FOLDER).features()
    found = []
    for level in levels:
        taken = FeatureFiles.open(folder / level_folder(level))
        features, logits = taken.features(), taken.logits()
        order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
        subset = min(SUBSET_SIZE, len(features), len(real))
        found.append(
            AdmFigures(
                level=level,
                frechet=reference.statistics.distance(taken.statistics(), space=space),
                spatial=_spatial_distance(taken, reference.spatial, space),
                score=inception_score(logits[order]),
                kernel=kernel_distance(features, real, subset_size=subset, seed=seed),
                coverage=precision_recall(features, real),
            )
        )
    return tuple(found)


def adm_record(
    protocol: Protocol,
    path: Path,
    reference: AdmReference,
    figures: Sequence[AdmFigures],
    *,
    name: str,
    space: str,
    guided: bool,
) -> ProtocolRecord:
    """Return the protocol's table, a row for each level, and what was used.

    Args:
        protocol: against ADM's statistics.
        path, reference: the npz, and what it holds.
        figures: of each level.
        name: of the generator.
        space: name of the feature space.
        guided: whether it sampled with guidance.
    """
    rows = []
    for some in figures:
        values = {
            "gFID": f"{some.frechet:.2f}",
            **({} if some.spatial is None else {"sFID": f"{some.spatial:.2f}"}),
            "IS": f"{some.score.mean:.1f}",
            "precision": f"{some.coverage.precision:.3f}",
            "recall": f"{some.coverage.recall:.3f}",
        }
        rows.append(protocol.row(f"{name}, level {some.level}", values, guided=guided))
    return ProtocolRecord(
        protocol=protocol,
        reference=[str(path)],
        reference_sha256=_sha256(path),
        reference_count=0 if reference.pictures is None else len(reference.pictures),
        counts={f"samples at level {some.level}": protocol.count for some in figures},
        space=space,
        rows=rows,
        values=[asdict(some) for some in figures],
    )


def _spatial_distance(
    taken: FeatureFiles, reference: ReferenceStatistics | None, space: str
) -> float | None:
    if reference is None or taken.plan.spatial is None:
        return None
    return reference.distance(taken.spatial_statistics(), space=space + SPATIAL_PART)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
