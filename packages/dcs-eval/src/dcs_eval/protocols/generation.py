"""Samples of a generator under a protocol: what is refused, and the table of small data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from dcs_eval.generation_report import GenerationReport
from dcs_eval.labelled_files import LabelledFiles
from dcs_eval.mean_interval import MeanInterval
from dcs_eval.protocols.checks import (
    check_count,
    check_reference_count,
    check_seeds,
    check_sizes,
)
from dcs_eval.protocols.protocol import Protocol
from dcs_eval.protocols.record import ProtocolRecord


def check_samples(protocol: Protocol, seeds: Sequence[Mapping[int, LabelledFiles]]) -> None:
    """Read every sample, and check numbers and sizes.

    Raises:
        ValueError: if one cannot be read, or they are not the protocol's.
    """
    check_seeds(protocol, len(seeds))
    every = [files for levels in seeds for files in levels.values()]
    for files in every:
        check_count(protocol, len(files), what="samples at each level")
    for files in every:
        _check_file_sizes(protocol, files)


def check_held_out(protocol: Protocol, reference: LabelledFiles) -> None:
    """Read every real picture, and check number and sizes.

    Raises:
        ValueError: if one cannot be read, or they are not the protocol's.
    """
    check_reference_count(protocol, len(reference), "the reference")
    _check_file_sizes(protocol, reference)


def held_out_record(
    protocol: Protocol,
    paths: Sequence[Path],
    reference: LabelledFiles,
    report: GenerationReport,
    *,
    name: str,
    guided: bool,
) -> ProtocolRecord:
    """Return the protocol's table, a row for each level, and what was used.

    Args:
        protocol: against held-out pictures.
        paths, reference: where they are, and they themselves.
        report: of the samples.
        name: of the generator.
        guided: whether it sampled with guidance.
    """
    rows, numbers = [], []
    for level in report.levels:
        frechet, share = report.frechet(level), report.probe_share(level)
        values = {protocol.metrics[0]: frechet.text(1)}
        if share is not None:
            values["recognised, %"] = _percent(share).text(1)
        rows.append(protocol.row(f"{name}, level {level}", values, guided=guided))
        numbers.append(
            {
                "level": level,
                "frechet": asdict(frechet),
                "recognised": None if share is None else asdict(share),
            }
        )
    return ProtocolRecord(
        protocol=protocol,
        reference=[str(path) for path in paths],
        reference_sha256=reference.digest,
        reference_count=len(reference),
        counts={"samples at each level and seed": report.samples, "seeds": report.seeds},
        space=report.space,
        rows=rows,
        values=numbers,
    )


def _check_file_sizes(protocol: Protocol, files: LabelledFiles) -> None:
    for file, pixels in zip(files.files, files, strict=True):
        check_sizes(protocol, [(file.place, (pixels.shape[-2], pixels.shape[-1]))])


def _percent(share: MeanInterval) -> MeanInterval:
    half = share.half_width
    return MeanInterval(mean=100 * share.mean, half_width=None if half is None else 100 * half)
