"""What must fit together before samples can be compared with real pictures."""

from collections.abc import Mapping, Sequence

from dcs_eval.picture_set import EmbeddedSet, PictureSet


def check_level_counts(seeds: Sequence[Mapping[int, int]]) -> None:
    """Check that every level of every seed has as many samples: distances depend on the count.

    Args:
        seeds: the number of samples by level, of each seed.

    Raises:
        ValueError: if levels or counts differ, or there is none.
    """
    if not seeds or not seeds[0]:
        raise ValueError(
            "`samples` must hold at least one level, but holds none. Pass {1: pictures}."
        )
    for index, levels in enumerate(seeds):
        if levels.keys() != seeds[0].keys():
            raise ValueError(
                f"Every seed must have the same levels, but the first has "
                f"{_listed(sorted(seeds[0]))} and number {index + 1} has "
                f"{_listed(sorted(levels))}. Leave out what not all have."
            )
    if len({count for levels in seeds for count in levels.values()}) > 1:
        counts = [
            f"{set_name(index, level, len(seeds))} {count}"
            for index, levels in enumerate(seeds)
            for level, count in sorted(levels.items())
        ]
        raise ValueError(
            "Every level must have as many samples, as distances depend on the number, but there "
            f"are: {_listed(counts)}. Sample again what is missing."
        )


def check_classes(
    seeds: Sequence[Mapping[int, PictureSet]],
    reference: Sequence[str] | None,
    train: Sequence[str] | None,
) -> frozenset[str] | None:
    """Return the classes that samples may have; None if real pictures have none.

    Args:
        seeds: the samples by level, of each seed.
        reference, train: the classes of real pictures.

    Raises:
        ValueError: if one has a class that the training pictures, or the reference, lack.
    """
    sets = {"the training set": train, "the reference": reference}
    named = {what: labels for what, labels in sets.items() if labels}
    if not named:
        return None
    source = next(iter(named))
    known = frozenset(named[source])
    others: dict[str, Sequence[str] | None] = {
        what: labels for what, labels in named.items() if what != source
    }
    for index, levels in enumerate(seeds):
        others |= {set_name(index, n, len(seeds)): some.labels for n, some in levels.items()}
    for what, labels in others.items():
        if unknown := sorted(set(labels or ()) - known):
            raise ValueError(
                f"Classes must be those of {source} ({_listed(sorted(known))}), but {what} has "
                f"{_listed(unknown)}. Rename or remove it."
            )
    return known


def check_size(sets: Sequence[EmbeddedSet]) -> None:
    """Check that all samples have one size.

    Raises:
        ValueError: if they do not.
    """
    sizes = sorted({size for some in sets for size in some.sizes})
    if len(sizes) > 1:
        raise ValueError(
            "Samples must have one size, but there are "
            f"{_listed([f'{width}x{height}' for height, width in sizes])}. Evaluate one at a time."
        )


def set_name(seed: int, level: int, seeds: int) -> str:
    """Return what messages call the samples of a level of a seed, of so many seeds."""
    return f"level {level}" if seeds == 1 else f"level {level} of seed number {seed + 1}"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
