"""Generators side by side: the same real pictures, the same features, equal numbers of samples."""

from collections.abc import Callable, Mapping, Sequence

from dcs_eval.comparison.generator_comparison import GeneratorComparison
from dcs_eval.comparison.sampling_times import SamplingTimes
from dcs_eval.features.feature_space import FeatureSpace
from dcs_eval.generation_checks import check_classes, check_level_counts
from dcs_eval.generation_yardstick import Yardstick
from dcs_eval.picture_set import PictureSet
from dcs_eval.tokenizer_floor import TokenizedPictures


def compare_generators(
    generators: Mapping[str, Sequence[Mapping[int, PictureSet]]],
    reference: PictureSet,
    *,
    features: FeatureSpace,
    train: PictureSet | None = None,
    times: Mapping[str, Sequence[SamplingTimes]] | None = None,
    floors: Mapping[str, TokenizedPictures] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> GeneratorComparison:
    """Measure the samples of several generators as :func:`evaluate_generation` measures one's.

    Real pictures are embedded once. Generators may have different levels and numbers of seeds.

    Args:
        generators: the samples by level, of each seed, by the name that tables give a generator.
        reference: real pictures that no generator was trained on.
        features: where distances are taken.
        train: the pictures that all were trained on.
        times: how long sampling took, of each seed, by the same names.
        floors: tokenizers, and the real pictures that go through them, by the names that tables
            give them.
        seed: of the training pictures that are drawn for the floor.
        progress: told what is done next.

    Raises:
        ValueError: if there is no generator, or pictures, labels or counts are not usable.
    """
    if not generators:
        raise ValueError("`generators` must hold at least one, but is empty. Pass {name: samples}.")
    labels = (reference.labels, None if train is None else train.labels)
    for seeds in generators.values():
        check_level_counts([dict.fromkeys(levels, 0) for levels in seeds])
        check_classes(seeds, *labels)
    progress("real pictures")
    yardstick = Yardstick(reference, train, features)
    if floors:
        progress("real pictures through tokenizers")
    found = yardstick.floors(floors or {})
    reports = {}
    for name, seeds in generators.items():
        progress(name)
        reports[name] = yardstick.evaluate(seeds, seed=seed)
        check_equal_counts({name: report.samples for name, report in reports.items()})
    known = times or {}
    return GeneratorComparison(
        reports=reports,
        times={name: tuple(known.get(name, ())) for name in reports},
        floors=found,
    )


def check_equal_counts(samples: Mapping[str, int]) -> None:
    """Check that every generator has as many samples at each level and seed.

    Raises:
        ValueError: if the numbers differ.
    """
    if len(set(samples.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in samples.items())
        raise ValueError(
            "Every generator must have as many samples, as distances depend on the number, but "
            f"there are: {counts}. Sample what is missing, or move what is too much elsewhere."
        )
