"""Generated clips under a protocol: against real ones, by the Fréchet distance of features."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dcs_eval.features.picture_collection import Pictures
from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.progress import bar
from dcs_eval.protocols.checks import check_count, check_reference_count, check_seeds
from dcs_eval.protocols.clips import ProtocolClips
from dcs_eval.protocols.feature_folders import REFERENCE_FOLDER, level_folder
from dcs_eval.protocols.protocol import Protocol
from dcs_eval.protocols.record import ProtocolRecord


def clip_sets(
    protocol: Protocol, seeds: Sequence[Mapping[int, LabelledFiles]], reference: LabelledFiles
) -> dict[str, Pictures]:
    """Return the clips whose features are compared, by the names of their features' folders.

    Args:
        protocol: of generated clips.
        seeds: samples by level, of each run.
        reference: real clips.

    Raises:
        ValueError: if a clip cannot be read, or they are not the protocol's.
    """
    check_seeds(protocol, len(seeds))
    for files in seeds[0].values():
        check_count(protocol, len(files), what="samples at each level")
    check_reference_count(protocol, len(reference), "the reference")
    sets = {
        level_folder(level): ProtocolClips(protocol, files, real=False)
        for level, files in seeds[0].items()
    }
    sets[REFERENCE_FOLDER] = ProtocolClips(protocol, reference)
    for name, clips in sets.items():
        with bar(f"checking {name}", len(clips)) as progress:
            for _ in clips:  # a bad one stops a long run at its start
                progress(1)
    return {**sets}


def clip_record(
    protocol: Protocol,
    paths: Sequence[Path],
    reference: LabelledFiles,
    distances: Mapping[int, float],
    *,
    name: str,
    space: str,
    guided: bool,
) -> ProtocolRecord:
    """Return the protocol's table, a row for each level, and what was used.

    Args:
        protocol: of generated clips.
        paths, reference: where the real clips are, and they themselves.
        distances: by level.
        name: of the generator.
        space: name of the feature space.
        guided: whether it sampled with guidance.
    """
    return ProtocolRecord(
        protocol=protocol,
        reference=[str(path) for path in paths],
        reference_sha256=reference.digest,
        reference_count=len(reference),
        counts={f"samples at level {level}": protocol.count for level in distances},
        space=space,
        rows=[
            protocol.row(
                f"{name}, level {level}", {protocol.metrics[0]: f"{distance:.2f}"}, guided=guided
            )
            for level, distance in distances.items()
        ],
        values=[{"level": level, "frechet": distance} for level, distance in distances.items()],
    )
