"""Quality of generated pictures, level by level, from little data and without an Inception file.

samples of a level --features--> Fréchet distance to the reference pictures
                       |
                       '-------> class that a probe sees, nearest training picture

The same measures of real pictures stand beside them: what a perfect generator would reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dcs_eval.features.feature_space import FeatureSpace
from dcs_eval.generation_checks import check_classes, check_level_counts
from dcs_eval.generation_report import GenerationReport
from dcs_eval.generation_yardstick import Yardstick
from dcs_eval.picture_set import PictureSet
from dcs_eval.tokenizer_floor import TokenizedPictures


def evaluate_generation(
    samples: Mapping[int, PictureSet] | Sequence[Mapping[int, PictureSet]],
    reference: PictureSet,
    *,
    features: FeatureSpace,
    train: PictureSet | None = None,
    floors: Mapping[str, TokenizedPictures] | None = None,
    seed: int = 0,
) -> GenerationReport:
    """Measure samples of every level count against real pictures.

    Every picture is rounded to 8 bits, so that tensors and the files made of them agree.

    Args:
        samples: the pictures decoded from 1, 2, ... levels, with the classes that they were
            asked for if there are any; several of these for several seeds.
        reference: real pictures that the generator was not trained on.
        features: where distances are taken: a
            :class:`dcs_eval.features.squeezenet.SqueezeNetFeatures`, or any other space.
        train: the pictures that it was trained on. With them come the floor under the
            Fréchet distance, nearest training pictures, and, if both they and samples have
            classes, the probe.
        floors: tokenizers, and the real pictures that go through them, by the names that tables
            give them: how near to the reference nothing but decoding comes.
        seed: of the training pictures that are drawn for the floor.

    Raises:
        ValueError: if pictures, labels or counts are not usable.
    """
    seeds = [samples] if isinstance(samples, Mapping) else list(samples)
    check_level_counts([dict.fromkeys(levels, 0) for levels in seeds])
    check_classes(seeds, reference.labels, None if train is None else train.labels)
    yardstick = Yardstick(reference, train, features)
    found = yardstick.floors(floors or {})
    return replace(yardstick.evaluate(seeds, seed=seed), floors=found)
