"""``dcs-eval generation``: samples of a generator against real pictures."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dcs_common.atomic_file import write_atomically
from dcs_eval.command_arguments import (
    add_job_arguments,
    add_machine_arguments,
    add_output_argument,
    add_real_pictures,
    prepare,
    read_share,
)
from dcs_eval.comparison.sampling_times import SAMPLING_FILE, SamplingTimes
from dcs_eval.distribution.reference_statistics import read_adm_reference
from dcs_eval.features.squeezenet import SqueezeNetFeatures
from dcs_eval.floor_arguments import add_floor_arguments, check_floor_request, read_floors
from dcs_eval.generation import evaluate_generation
from dcs_eval.generation_checks import check_level_counts
from dcs_eval.labelled_files import LabelledFiles, find_labelled, find_levels
from dcs_eval.nearest_files import write_nearest
from dcs_eval.progress import as_set, check_files
from dcs_eval.protocols.adm import adm_record, adm_sets, measure_against_adm
from dcs_eval.protocols.checks import (
    check_random_seed,
    check_reference,
    check_reference_count,
    check_unused,
)
from dcs_eval.protocols.feature_folders import (
    REFERENCE_FOLDER,
    Share,
    level_distances,
    take_features,
)
from dcs_eval.protocols.generated_clips import clip_record, clip_sets
from dcs_eval.protocols.generation import check_held_out, check_samples, held_out_record
from dcs_eval.protocols.presets import find_protocol, protocol_names
from dcs_eval.protocols.protocol import Protocol
from dcs_eval.protocols.record import PROTOCOL_FILE, ProtocolRecord
from dcs_eval.protocols.spaces import check_weights, protocol_space


def add_parser(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("generation", help=run.__doc__)
    command.add_argument(
        "samples",
        nargs="+",
        type=Path,
        metavar="SAMPLES",
        help="folders with level-1/CLASS/*.png or level-1/*.png and so on, one for each seed; "
        "*.webp or videos where a protocol is of clips",
    )
    add_real_pictures(command)
    add_floor_arguments(command)
    command.add_argument(
        "--protocol",
        metavar="NAME",
        help=f"measure as published, or not at all: {', '.join(protocol_names('generation'))}",
    )
    add_job_arguments(command)
    add_output_argument(command, "generation")
    add_machine_arguments(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Generated pictures by levels: distance to real ones, classes, nearest training pictures."""
    device = prepare(args)
    protocol = None
    if args.protocol is not None:
        protocol = find_protocol(args.protocol, "generation")
        check_weights(protocol, args.weights)
        check_reference(protocol, args.reference, train=args.train or ())
        check_unused(protocol, labels=args.labels, train=args.train)
        check_random_seed(protocol, args.seed)
    guided = protocol is not None and _guided(args)
    check_floor_request(args, protocol)
    clips = protocol is not None and protocol.media == "clip"
    adm = protocol is not None and protocol.reference == "adm-statistics"
    share = read_share(args, protocol, extracts=clips or adm)
    if protocol is not None and clips:
        return _run_clips(args, protocol, share, device, guided=guided)
    seeds = [find_levels(folder) for folder in args.samples]
    if protocol is not None:
        check_samples(protocol, seeds)
        if adm:
            return _run_adm(args, protocol, seeds[0], share, device, guided=guided)
    check_level_counts([{n: len(files) for n, files in levels.items()} for levels in seeds])
    reference = find_labelled(args.reference, args.labels)
    if protocol is not None:
        check_held_out(protocol, reference)
    train = None
    if args.train:
        train = find_labelled(args.train, args.labels, what="the training set")
    check_files([*(files for levels in seeds for files in levels.values()), reference, train])
    floors = read_floors(
        args,
        reference,
        levels=list(seeds[0]),
        samples=len(next(iter(seeds[0].values()))),
        device=device,
    )
    features = SqueezeNetFeatures(args.weights, device)
    report = evaluate_generation(
        [{n: as_set(files, f"level {n}") for n, files in levels.items()} for levels in seeds],
        as_set(reference, "reference"),
        features=features,
        train=None if train is None else as_set(train, "training"),
        floors=floors,
        seed=args.seed,
    )
    args.output.mkdir(parents=True, exist_ok=True)
    report.save(args.output / "report.json")
    text = report.markdown()
    written = ["report.json", "report.md"]
    if protocol is not None:
        record = held_out_record(
            protocol,
            args.reference,
            reference,
            report,
            name=_name(args),
            guided=guided,
        )
        record.save(args.output / PROTOCOL_FILE)
        written.append(PROTOCOL_FILE)
        text = f"{record.markdown()}\n{text}"
    write_atomically(args.output / "report.md", text.encode())
    if train is not None:
        write_nearest(report, seeds, train, args.output)
        written += ["nearest.csv", "nearest.png"]
    return f"{text}\nwrote {', '.join(written)} into {args.output}"


def _run_adm(
    args: argparse.Namespace,
    protocol: Protocol,
    samples: Mapping[int, LabelledFiles],
    share: Share,
    device: torch.device,
    *,
    guided: bool,
) -> str:
    path = args.reference[0]
    reference = read_adm_reference(path)
    held = 0 if reference.pictures is None else len(reference.pictures)
    check_reference_count(protocol, held, str(path))
    space = protocol_space(protocol, args.weights, device)
    assert space is not None, "statistics are of a feature space"
    features = args.output / "features"
    rest = take_features(adm_sets(samples, reference), space, features, share=share)
    if rest is not None:
        return rest
    figures = measure_against_adm(
        samples, reference, features, space=space.name, seed=protocol.seed
    )
    record = adm_record(
        protocol,
        path,
        reference,
        figures,
        name=_name(args),
        space=space.name,
        guided=guided,
    )
    return _write(record, args.output)


def _run_clips(
    args: argparse.Namespace,
    protocol: Protocol,
    share: Share,
    device: torch.device,
    *,
    guided: bool,
) -> str:
    seeds = [find_levels(folder, protocol.media) for folder in args.samples]
    reference = find_labelled(args.reference, media=protocol.media)
    space = protocol_space(protocol, args.weights, device)
    assert space is not None, "clips are compared by features"
    sets = clip_sets(protocol, seeds, reference)
    features = args.output / "features"
    rest = take_features(sets, space, features, media=protocol.media, share=share)
    if rest is not None:
        return rest
    record = clip_record(
        protocol,
        args.reference,
        reference,
        level_distances(seeds[0], features, REFERENCE_FOLDER),
        name=_name(args),
        space=space.name,
        guided=guided,
    )
    return _write(record, args.output)


def _write(record: ProtocolRecord, output: Path) -> str:
    record.save(output / PROTOCOL_FILE)
    write_atomically(output / "report.md", record.markdown().encode())
    return f"{record.markdown()}\nwrote {PROTOCOL_FILE}, report.md into {output}"


def _name(args: argparse.Namespace) -> str:
    """Return what the generator is called in a protocol's table."""
    return " ".join(folder.name for folder in args.samples)


def _guided(args: argparse.Namespace) -> bool:
    """Return whether the samples say that they were made with guidance.

    Raises:
        ValueError: if those of one seed say so and those of another do not.
    """
    found = [SamplingTimes.read(folder) for folder in args.samples]
    guided = [some is not None and some.guided for some in found]
    if len(set(guided)) > 1:
        with_guidance, without = (args.samples[guided.index(each)] for each in (True, False))
        raise ValueError(
            "Samples of all seeds must be made with guidance or all without, but "
            f"{with_guidance / SAMPLING_FILE} says with, and {without} does not. Evaluate one kind "
            "at a time."
        )
    return guided[0]
