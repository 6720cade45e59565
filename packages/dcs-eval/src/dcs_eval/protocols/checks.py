"""What protocols refuse: the wrong reference, number or size, before anything is measured."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from dcs_eval.protocols.protocol import Protocol

_STATISTICS = {".npz", ".npy", ".safetensors", ".pt", ".pkl"}
_TRAINING_NAME = re.compile(r"n\d{8}_\d+\.\w+")  # of ImageNet; validation: ILSVRC2012_val_0000...


def check_count(protocol: Protocol, count: int, *, what: str | None = None) -> None:
    """Check the number of pictures or clips, or of samples at each level.

    Raises:
        ValueError: if it is not the protocol's.
    """
    if count != protocol.count:
        why = "" if protocol.space is None else ", as distances depend on the number"
        what = what or f"{protocol.media}s"
        raise ValueError(
            f"{protocol.name} takes {protocol.count} {what}{why}, but there are {count}. Give as "
            "many, or leave `--protocol` out."
        )


def check_seeds(protocol: Protocol, seeds: int) -> None:
    """Check the number of a generator's runs.

    Raises:
        ValueError: if it is not the protocol's.
    """
    if seeds != protocol.seeds:
        raise ValueError(
            f"{protocol.name} takes samples of {_counted(protocol.seeds, 'seed')}, but there "
            f"{'is' if seeds == 1 else 'are'} {_counted(seeds, 'folder')}. Give one for each seed."
        )


def check_sizes(protocol: Protocol, sizes: Iterable[tuple[str, tuple[int, int]]]) -> None:
    """Check the sizes of pictures or clips as they are measured.

    Args:
        protocol: the protocol.
        sizes: names of pictures, and (height, width) of each.

    Raises:
        ValueError: if one is not the protocol's.
    """
    for name, size in sizes:
        if size not in protocol.sizes:
            wanted = " or ".join(_size(one) for one in protocol.sizes)
            what = "" if protocol.media == "picture" else " samples"
            raise ValueError(
                f"{protocol.media.capitalize()}s of {protocol.name} must have {wanted} pixels, but "
                f"{name} has {_size(size)}. Give those of that size; it never resizes{what}."
            )


def check_names(protocol: Protocol, names: Iterable[str]) -> None:
    """Check that the pictures of an ImageNet protocol are not of its training set.

    Raises:
        ValueError: if one has the name of a training picture.
    """
    if not protocol.name.startswith("imagenet"):
        return
    for name in names:
        if _TRAINING_NAME.fullmatch(name.rpartition("/")[2]):
            raise ValueError(
                f"{protocol.name} takes ImageNet's validation pictures, but {name} has the name of "
                "a training picture. Give ILSVRC2012_val_00000001 to 00050000."
            )


def check_reference(
    protocol: Protocol,
    reference: Sequence[Path],
    *,
    data: Sequence[Path] = (),
    train: Sequence[Path] = (),
) -> None:
    """Check what is compared with, as far as paths tell it.

    Args:
        protocol: the protocol.
        reference: as given; empty for none.
        data: the pictures that are reconstructed.
        train: the pictures that a generator was trained on.

    Raises:
        ValueError: if the protocol compares with something else.
    """
    if protocol.reference == "same":
        _check_same(protocol, reference, data)
    elif protocol.reference == "adm-statistics":
        _check_adm(protocol, reference)
    else:
        _check_held_out(protocol, reference, train)


def check_reference_count(protocol: Protocol, count: int, where: str) -> None:
    """Check the number of real pictures or clips.

    Args:
        protocol: the protocol.
        count: of them.
        where: they are, for the message.

    Raises:
        ValueError: if it is not the protocol's.
    """
    if protocol.reference_count in (None, count):
        return
    if protocol.reference == "adm-statistics":
        raise ValueError(
            f"The reference of {protocol.name} must hold {protocol.reference_count} pictures "
            f"(arr_0) for precision and recall, but {where} holds {count or 'none'}. Give "
            "VIRTUAL_imagenet256_labeled.npz as it was published."
        )
    raise ValueError(
        f"{protocol.name} compares with {protocol.reference_count} real {protocol.media}s, but "
        f"{where} holds {count}. Give as many, or leave `--protocol` out."
    )


def check_unused(protocol: Protocol, *, labels: Path | None, train: Sequence[Path] | None) -> None:
    """Refuse what would be read for nothing.

    Args:
        protocol: of a generation.
        labels: table of the classes of real pictures, or None.
        train: the pictures that a generator was trained on, or None.

    Raises:
        ValueError: if the protocol takes no notice of one that is given.
    """
    without_classes = protocol.media == "clip" or protocol.reference == "adm-statistics"
    if labels is not None and without_classes:
        raise ValueError(
            f"{protocol.name} takes no notice of the classes of real {protocol.media}s, but there "
            f"is `--labels` {labels}. Leave it out."
        )
    if train and protocol.reference == "adm-statistics":
        raise ValueError(
            f"{protocol.name} compares with its reference alone, but there is `--train`. Leave it "
            "out."
        )


def check_random_seed(protocol: Protocol, seed: int) -> None:
    """Check that nothing is drawn at random but by the seed that a record states.

    Raises:
        ValueError: if it is another.
    """
    if seed != protocol.seed:
        raise ValueError(
            f"{protocol.name} draws with the seed {protocol.seed}, but `--seed` is {seed}. Leave "
            "it out, or `--protocol`."
        )


def _check_same(protocol: Protocol, reference: Sequence[Path], data: Sequence[Path]) -> None:
    own = {path.resolve() for path in data}
    for path in reference:
        if path.resolve() in own:
            continue
        what, why = "other pictures", ""
        if path.suffix.lower() in _STATISTICS:
            what = "a file of statistics"
            if protocol.space is not None:
                why = ", and against those of a training set the distance comes out several times "
                why += "too large"
        raise ValueError(
            f"The reference of {protocol.name} must be the {protocol.media}s that are "
            f"reconstructed themselves, but {path} is {what}{why}. Leave `--reference` out."
        )


def _check_adm(protocol: Protocol, reference: Sequence[Path]) -> None:
    file = reference[0] if len(reference) == 1 else None
    if file is not None and file.is_file() and file.suffix.lower() == ".npz":
        return
    if file is None:
        found = f"there are {len(reference)} paths" if reference else "there is none"
    elif not file.exists():
        found = f"{file} does not exist"
    else:
        found = f"{file} is {'a folder' if file.is_dir() else 'another file'}"
    raise ValueError(
        f"The reference of {protocol.name} must be the one file VIRTUAL_imagenet256_labeled.npz of "
        f"ADM's evaluation, with statistics of the whole training set, but {found}. Download it "
        "and give its path."
    )


def _check_held_out(protocol: Protocol, reference: Sequence[Path], train: Sequence[Path]) -> None:
    if not reference:
        raise ValueError(
            f"{protocol.name} compares with real {protocol.media}s that the generator was not "
            "trained on, but there is no reference. Give folders or zips of them."
        )
    trained = {path.resolve() for path in train}
    for path in reference:
        if path.suffix.lower() in _STATISTICS:
            raise ValueError(
                f"The reference of {protocol.name} must be real {protocol.media}s in folders or "
                f"zips, but {path} is a file of statistics. Give the {protocol.media}s themselves."
            )
        if path.resolve() in trained:
            raise ValueError(
                f"The reference of {protocol.name} must be {protocol.media}s that the generator "
                f"was not trained on, but {path} is given as training {protocol.media}s, too. Give "
                "held-out ones."
            )


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
