"""Quality of generated pictures, level by level, from little data and without an Inception file.

samples of a level --features--> Fréchet distance to the reference pictures
                       |
                       '-------> class that a probe sees, nearest training picture

The same measures of real pictures stand beside them: what a perfect generator would reach.
"""

from collections.abc import Mapping, Sequence

import torch

from dcs_eval.feature_space import FeatureSpace
from dcs_eval.frechet import FeatureStatistics, frechet_distance
from dcs_eval.generation_report import GenerationReport
from dcs_eval.generation_rows import Generation, RealPictures
from dcs_eval.linear_probe import LinearProbe
from dcs_eval.nearest import NearestTraining, nearest_by_features, nearest_by_pixels
from dcs_eval.picture_set import EmbeddedSet, PictureSet, embed
from dcs_eval.standardisation import Standardisation


def evaluate_generation(
    samples: Mapping[int, PictureSet] | Sequence[Mapping[int, PictureSet]],
    reference: PictureSet,
    *,
    features: FeatureSpace,
    train: PictureSet | None = None,
    seed: int = 0,
) -> GenerationReport:
    """Measure samples of every level count against real pictures.

    Every picture is rounded to 8 bits, so that tensors and the files made of them agree.

    Args:
        samples: the pictures decoded from 1, 2, ... levels, with the classes that they were
            asked for if there are any; several of these for several seeds.
        reference: real pictures that the generator was not trained on.
        features: where distances are taken: a
            :class:`dcs_eval.squeezenet.SqueezeNetFeatures`, or any other space.
        train: the pictures that it was trained on. With them come the floor under the
            Fréchet distance, nearest training pictures, and, if both they and samples have
            classes, the probe.
        seed: of the training pictures that are drawn for the floor.

    Raises:
        ValueError: if pictures, labels or counts are not usable.
    """
    seeds = [samples] if isinstance(samples, Mapping) else list(samples)
    check_level_counts([dict.fromkeys(levels, 0) for levels in seeds])
    known = _check_classes(seeds, reference, train)
    generated = [
        {
            level: embed(pictures, features, _name(index, level, len(seeds)))
            for level, pictures in sorted(levels.items())
        }
        for index, levels in enumerate(seeds)
    ]
    check_level_counts([{n: some.count for n, some in levels.items()} for levels in generated])
    _check_size([some for levels in generated for some in levels.values()])
    measures = _Measures(
        embed(reference, features, "the reference"),
        None if train is None else embed(train, features, "the training set"),
        with_probe=known is not None,
    )
    rows = tuple(
        measures.of(some, seed=index, level=level)
        for index, levels in enumerate(generated)
        for level, some in levels.items()
    )
    count = next(iter(generated[0].values())).count
    return GenerationReport(
        space=features.name,
        features=features.size,
        samples=count,
        reference=measures.reference.count,
        train=None if measures.train is None else measures.train.count,
        rows=rows,
        real=measures.of_real_pictures(count, seed),
    )


class _Measures:
    """What is computed of real pictures once, and then compared with every set of samples."""

    def __init__(
        self, reference: EmbeddedSet, train: EmbeddedSet | None, *, with_probe: bool
    ) -> None:
        self.reference, self.train = reference, train
        self._statistics = FeatureStatistics.of(reference.features)
        self._scaling = None if train is None else Standardisation.of(train.features)
        self._probe = None
        if with_probe and train is not None and train.labels is not None:
            self._probe = LinearProbe.fit(train.features, train.labels)

    def of(self, some: EmbeddedSet, *, seed: int, level: int) -> Generation:
        return Generation(
            seed=seed,
            level=level,
            frechet=frechet_distance(FeatureStatistics.of(some.features), self._statistics),
            probe=None
            if self._probe is None or some.labels is None
            else self._probe.shares(some.features, some.labels),
            nearest=self._nearest(some),
        )

    def of_real_pictures(self, count: int, seed: int) -> RealPictures | None:
        """Return the same of real pictures: training pictures for samples in the distance.

        Args:
            count: of samples, as the distance depends on it.
            seed: draws as many training pictures.
        """
        nearest = self._nearest(self.reference)
        if self.train is None or nearest is None:
            return None
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randperm(self.train.count, generator=generator)[:count]
        return RealPictures(
            frechet=self._distance(self.train.features),
            drawn=len(drawn),
            frechet_drawn=self._distance(self.train.features[drawn]),
            probe=None
            if self._probe is None or self.reference.labels is None
            else self._probe.shares(self.reference.features, self.reference.labels),
            nearest=nearest,
        )

    def _distance(self, features: torch.Tensor) -> float:
        return frechet_distance(FeatureStatistics.of(features), self._statistics)

    def _nearest(self, some: EmbeddedSet) -> NearestTraining | None:
        if self.train is None or self._scaling is None:
            return None
        return NearestTraining(
            features=nearest_by_features(some.features, self.train.features, self._scaling),
            pixels=nearest_by_pixels(some.small, self.train.small),
        )


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
            f"{_name(index, level, len(seeds))} {count}"
            for index, levels in enumerate(seeds)
            for level, count in sorted(levels.items())
        ]
        raise ValueError(
            "Every level must have as many samples, as distances depend on the number, but there "
            f"are: {_listed(counts)}. Sample again what is missing."
        )


def _check_classes(
    seeds: Sequence[Mapping[int, PictureSet]], reference: PictureSet, train: PictureSet | None
) -> frozenset[str] | None:
    """Return the classes that samples may have; None if real pictures have none."""
    sets = {"the training set": train, "the reference": reference}
    named = {what: some for what, some in sets.items() if some is not None and some.labels}
    if not named:
        return None
    source = next(iter(named))
    known = frozenset(named[source].labels or ())
    others = {what: some for what, some in named.items() if what != source}
    for index, levels in enumerate(seeds):
        others |= {_name(index, n, len(seeds)): some for n, some in levels.items()}
    for what, some in others.items():
        if unknown := sorted(set(some.labels or ()) - known):
            raise ValueError(
                f"Classes must be those of {source} ({_listed(sorted(known))}), but {what} has "
                f"{_listed(unknown)}. Rename or remove it."
            )
    return known


def _check_size(sets: Sequence[EmbeddedSet]) -> None:
    sizes = sorted({size for some in sets for size in some.sizes})
    if len(sizes) > 1:
        raise ValueError(
            "Samples must have one size, but there are "
            f"{_listed([f'{width}x{height}' for height, width in sizes])}. Evaluate one at a time."
        )


def _name(seed: int, level: int, seeds: int) -> str:
    return f"level {level}" if seeds == 1 else f"level {level} of seed number {seed + 1}"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
