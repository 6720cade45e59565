"""Real pictures as the yardstick of generated ones, computed once for any number of generators."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dcs_eval.distribution.frechet import FeatureStatistics, frechet_distance
from dcs_eval.features.feature_space import FeatureSpace
from dcs_eval.generation_checks import check_classes, check_level_counts, check_size, set_name
from dcs_eval.generation_report import GenerationReport
from dcs_eval.generation_rows import Generation, RealPictures
from dcs_eval.linear_probe import LinearProbe
from dcs_eval.nearest import NearestTraining, nearest_by_features, nearest_by_pixels
from dcs_eval.picture_set import EmbeddedSet, PictureSet, embed
from dcs_eval.standardisation import Standardisation
from dcs_eval.tokenizer_floor import TokenizedPictures, TokenizerFloor, measure_floor


class Yardstick:
    """Features of real pictures, a probe trained on them, and what samples measure against them.

    Args:
        reference: real pictures that no generator was trained on.
        train: the pictures that they were trained on, or None.
        features: where distances are taken.

    Raises:
        ValueError: if pictures or labels are not usable.
    """

    def __init__(
        self, reference: PictureSet, train: PictureSet | None, features: FeatureSpace
    ) -> None:
        known = check_classes([], reference.labels, None if train is None else train.labels)
        self._space = features
        self.reference = embed(reference, features, "the reference")
        self.train = None if train is None else embed(train, features, "the training set")
        self._statistics = FeatureStatistics.of(self.reference.features)
        self._scaling = None if self.train is None else Standardisation.of(self.train.features)
        self._probe = None
        if known is not None and self.train is not None and self.train.labels is not None:
            self._probe = LinearProbe.fit(self.train.features, self.train.labels)
        self._nearest_reference = self._nearest(self.reference)

    def evaluate(
        self, seeds: Sequence[Mapping[int, PictureSet]], *, seed: int = 0
    ) -> GenerationReport:
        """Measure the samples of one generator.

        Args:
            seeds: its samples by level, of each seed.
            seed: of the training pictures that are drawn for the floor.

        Raises:
            ValueError: if pictures, labels or counts are not usable.
        """
        check_level_counts([dict.fromkeys(levels, 0) for levels in seeds])
        check_classes(
            seeds, self.reference.labels, None if self.train is None else self.train.labels
        )
        generated = [
            {
                level: embed(pictures, self._space, set_name(index, level, len(seeds)))
                for level, pictures in sorted(levels.items())
            }
            for index, levels in enumerate(seeds)
        ]
        check_level_counts([{n: some.count for n, some in levels.items()} for levels in generated])
        check_size([some for levels in generated for some in levels.values()])
        count = next(iter(generated[0].values())).count
        return GenerationReport(
            space=self._space.name,
            features=self._space.size,
            samples=count,
            reference=self.reference.count,
            train=None if self.train is None else self.train.count,
            rows=tuple(
                self._of(some, seed=index, level=level)
                for index, levels in enumerate(generated)
                for level, some in levels.items()
            ),
            real=self._of_real_pictures(count, seed),
        )

    def floors(self, given: Mapping[str, TokenizedPictures]) -> tuple[TokenizerFloor, ...]:
        """Measure real pictures that went through tokenizers alone.

        Args:
            given: tokenizers and what goes through them, by the names that tables give them.

        Raises:
            ValueError: as :func:`dcs_eval.tokenizer_floor.measure_floor` does.
        """
        return tuple(
            floor
            for name, pictures in given.items()
            for floor in measure_floor(name, pictures, self._space, self._statistics)
        )

    def _of(self, some: EmbeddedSet, *, seed: int, level: int) -> Generation:
        return Generation(
            seed=seed,
            level=level,
            frechet=frechet_distance(FeatureStatistics.of(some.features), self._statistics),
            probe=None
            if self._probe is None or some.labels is None
            else self._probe.shares(some.features, some.labels),
            nearest=self._nearest(some),
        )

    def _of_real_pictures(self, count: int, seed: int) -> RealPictures | None:
        """Return the same of real pictures: training pictures for samples in the distance.

        Args:
            count: of samples, as the distance depends on it.
            seed: draws as many training pictures.
        """
        nearest = self._nearest_reference
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

    def _distance(self, features: Tensor) -> float:
        return frechet_distance(FeatureStatistics.of(features), self._statistics)

    def _nearest(self, some: EmbeddedSet) -> NearestTraining | None:
        if self.train is None or self._scaling is None:
            return None
        return NearestTraining(
            features=nearest_by_features(some.features, self.train.features, self._scaling),
            pixels=nearest_by_pixels(some.small, self.train.small),
        )
