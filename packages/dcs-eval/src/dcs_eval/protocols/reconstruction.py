"""A tokenizer under a protocol: PSNR and the like of every picture, and the distance of all."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import torch

from dcs_common.protocols import ImageTokenizer
from dcs_eval.features.picture_collection import Pictures
from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.metrics import METRICS
from dcs_eval.protocols.checks import check_names
from dcs_eval.protocols.clips import ProtocolClips
from dcs_eval.protocols.feature_folders import level_folder
from dcs_eval.protocols.pictures import DecodedPictures, ProtocolPictures
from dcs_eval.protocols.protocol import Protocol
from dcs_eval.protocols.record import ProtocolRecord
from dcs_eval.reconstruction_report import ReconstructionReport

#: Of the features of what a tokenizer is given.
ORIGINALS_FOLDER = "originals"


def prepare_pictures(protocol: Protocol, files: LabelledFiles) -> ProtocolPictures | ProtocolClips:
    """Return the pictures or clips to measure, each read once to see whether it can be.

    Args:
        protocol: of a reconstruction.
        files: the pictures.

    Raises:
        ValueError: if one cannot be read, or names or sizes are not the protocol's.
    """
    of_pictures = protocol.media == "picture"
    pictures = (ProtocolPictures if of_pictures else ProtocolClips)(protocol, files)
    check_names(protocol, pictures.names)
    for _ in pictures:  # a bad one stops a long run at its start
        pass
    return pictures


def decoded_sets(
    pictures: ProtocolPictures | ProtocolClips,
    tokenizer: ImageTokenizer,
    levels: Sequence[int],
    *,
    name: str,
    device: torch.device,
) -> dict[str, Pictures]:
    """Return the originals and what is decoded of them, by the names of their features' folders.

    Args:
        pictures: the originals, and the reference.
        tokenizer: what decodes.
        levels: the level counts.
        name: of the tokenizer.
        device: where it computes.
    """
    decoded = {
        level_folder(count): DecodedPictures(pictures, tokenizer, count, name=name, device=device)
        for count in levels
    }
    return {ORIGINALS_FOLDER: pictures, **decoded}


def reconstruction_record(
    protocol: Protocol,
    data: Sequence[Path],
    files: LabelledFiles,
    report: ReconstructionReport,
    distances: dict[int, float],
    *,
    name: str,
    space: str | None,
) -> ProtocolRecord:
    """Return the protocol's table, a row for each level count, and what was used.

    Args:
        protocol: of a reconstruction.
        data, files: where the pictures are, and they themselves.
        report: of them.
        distances: by level count; empty without a feature space.
        name: of the tokenizer.
        space: name of the feature space.
    """
    counts = list(dict.fromkeys(row.levels for row in report.rows))
    rows = []
    for count in counts:
        values = {
            METRICS[key].title: report.interval(count, metric=key).text(METRICS[key].decimals)
            for key in report.metrics
        }
        if count in distances:
            values[protocol.metrics[-1]] = f"{distances[count]:.2f}"
        rows.append(protocol.row(f"{name}, {count} level{'' if count == 1 else 's'}", values))
    return ProtocolRecord(
        protocol=protocol,
        reference=[str(path) for path in data],
        reference_sha256=files.digest,
        reference_count=len(files),
        counts={f"{protocol.media}s": len(files)},
        space=space,
        rows=rows,
        values=[
            {
                "levels": count,
                **{key: _finite(report.mean(count, metric=key)) for key in report.metrics},
                **({"frechet": distances[count]} if count in distances else {}),
            }
            for count in counts
        ],
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None  # JSON knows no infinity
