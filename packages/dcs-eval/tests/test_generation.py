"""`evaluate_generation` in a feature space without a network: what it measures and refuses."""

import json
from collections.abc import Iterator
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dcs_eval import (
    FeatureStatistics,
    GenerationReport,
    PictureSet,
    evaluate_generation,
    frechet_distance,
)
from dcs_eval import picture_set as picture_set_module
from dcs_eval.features import picture_collection
from dcs_eval.picture_set import embed

from .errors import error
from .plain_features import MeanColours, coloured


def picture_set(count: int, seed: int = 0, side: int = 24) -> PictureSet:
    pictures, labels = coloured(count, seed, side)
    return PictureSet(pictures=pictures, labels=labels)


def evaluated(**changes: Any) -> GenerationReport:
    arguments: dict[str, Any] = {
        "samples": {1: picture_set(30, 1), 2: picture_set(30, 2)},
        "reference": picture_set(60, 3),
        "features": MeanColours(),
        "train": picture_set(90, 4),
        **changes,
    }
    return evaluate_generation(arguments.pop("samples"), arguments.pop("reference"), **arguments)


def test_everything_is_measured() -> None:
    report = evaluated()
    assert (report.samples, report.reference, report.train) == (30, 60, 90)
    assert (report.levels, report.seeds, report.space) == ((1, 2), 1, "mean-colours")
    space = MeanColours()
    expected = frechet_distance(
        FeatureStatistics.of(space(coloured(30, 2)[0])),
        FeatureStatistics.of(space(coloured(60, 3)[0])),
    )
    assert report.frechet(2).mean == pytest.approx(expected, rel=1e-4)
    share, classes = report.probe_share(2), report.classes(2)
    assert share is not None and share.mean > 0.9
    assert classes is not None and classes.reaching() == 3
    real = report.real
    assert real is not None and real.probe is not None
    assert real.drawn == 30
    assert real.frechet < real.frechet_drawn
    assert real.probe.mean > 0.9
    assert len(real.nearest.pixels.indices) == 60


def test_worse_pictures_measure_worse() -> None:
    pictures, labels = coloured(30, 1)
    noise = torch.rand(pictures.shape, generator=torch.Generator().manual_seed(0))
    noisy = {
        level: PictureSet(pictures=(1 - share) * pictures + share * noise, labels=labels)
        for level, share in ((1, 0.9), (2, 0.5), (3, 0.0))
    }
    report = evaluated(samples=noisy)
    distances = [report.frechet(level).mean for level in (1, 2, 3)]
    assert distances == sorted(distances, reverse=True)


def test_what_was_asked_for_matters_to_the_probe_alone() -> None:
    pictures, labels = coloured(30, 1)
    turned = PictureSet(pictures=pictures, labels=labels[1:] + labels[:1])
    right, wrong = evaluated(samples={1: picture_set(30, 1)}), evaluated(samples={1: turned})
    share = wrong.probe_share(1)
    assert share is not None and share.mean < 0.1
    assert wrong.frechet(1) == right.frechet(1)
    assert wrong.near(1) == right.near(1)


def test_copies_of_training_pictures_are_near() -> None:
    copies, labels = coloured(90, 4)
    report = evaluated(
        samples={1: PictureSet(pictures=copies[:30], labels=labels[:30]), 2: picture_set(30, 5)}
    )
    for by in ("features", "pixels"):
        memorised, new = report.near(1, by=by), report.near(2, by=by)
        assert memorised is not None and memorised.mean == 1
        assert new is not None and new.mean < 0.4
    nearest = report.at(1)[0].nearest
    assert nearest is not None
    assert nearest.pixels.indices == nearest.features.indices == tuple(range(30))


def test_pictures_may_come_one_by_one_or_in_any_parts() -> None:
    def parts(pictures: Tensor) -> Iterator[Tensor]:
        yield from pictures.split([1, 1, 5, 23])

    whole = evaluated(samples={1: picture_set(30, 1)})
    pictures, labels = coloured(30, 1)
    streamed = evaluated(samples={1: PictureSet(pictures=parts(pictures), labels=labels)})
    assert streamed == whole


def test_neighbours_of_one_size_go_through_the_network_together() -> None:
    small, large = coloured(5)[0], coloured(4, side=32)[0]
    space = MeanColours()
    found = embed(PictureSet(pictures=[*small.split(1), *large.split(1)]), space, "these")
    assert space.sizes == [5, 4]
    assert found.sizes == {(24, 24), (32, 32)}
    expected = torch.cat([space(small), space(large)])
    assert torch.allclose(found.features, expected)
    space = MeanColours()
    embed(PictureSet(pictures=coloured(150)[0]), space, "these")
    assert space.sizes == [64, 64, 22]


def test_large_pictures_go_through_the_network_by_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds so many pixels, however large single pictures are."""
    small, large = coloured(5)[0], coloured(4, side=48)[0]
    monkeypatch.setattr(picture_set_module, "BATCH_PIXELS", 2 * 48 * 48 + 5)
    for pictures in ([*small.split(1), *large.split(1)], [small, large]):
        space = MeanColours()
        embed(PictureSet(pictures=pictures), space, "these")
        assert space.sizes == [5, 2, 2]
    monkeypatch.setattr(picture_collection, "BATCH_PIXELS", 2 * 48 * 48 + 5)
    assert [len(batch) for batch in picture_collection.batches(large, range(4), 64)] == [2, 2]
    monkeypatch.setattr(picture_collection, "BATCH_PIXELS", 5)
    assert [len(batch) for batch in picture_collection.batches(large, range(2), 64)] == [1, 1]


def test_pixels_are_rounded_to_eight_bits_as_in_files() -> None:
    pictures, labels = coloured(30, 1)
    shifted = (pictures + 0.4 / 255).clamp(0, 1)
    assert evaluated(samples={1: PictureSet(pictures=shifted, labels=labels)}) == evaluated(
        samples={1: picture_set(30, 1)}
    )


def test_seeds_give_means_and_intervals() -> None:
    first, second = ({1: picture_set(30, seed)} for seed in (1, 7))
    report = evaluated(samples=[first, second])
    single = [evaluated(samples=samples).frechet(1).mean for samples in (first, second)]
    assert report.seeds == 2
    assert report.frechet(1).mean == pytest.approx(sum(single) / 2)
    # t(0.975, 1) = 12.706, and the deviation of two values is their difference by sqrt(2).
    half_width = 12.7062 * abs(single[0] - single[1]) / 2
    assert report.frechet(1).half_width == pytest.approx(half_width, rel=1e-4)
    classes = report.classes(1)
    assert classes is not None
    assert [total for _, total in classes.counts.values()] == [20, 20, 20]


def test_without_training_pictures_only_the_distance_remains() -> None:
    report = evaluated(train=None)
    assert report.real is None
    assert (report.probe_share(1), report.near(1), report.class_table()) == (None, None, None)
    assert report.table().splitlines()[0] == "| pictures | Fréchet distance on mean-colours |"


def test_without_classes_there_is_no_probe() -> None:
    bare = PictureSet(pictures=coloured(30, 1)[0])
    report = evaluated(samples={1: bare})
    assert report.probe_share(1) is None
    assert report.near(1) is not None
    assert "recognised" not in report.table()
    unlabelled = evaluated(train=PictureSet(pictures=coloured(90, 4)[0]))
    assert unlabelled.probe_share(1) is None
    assert unlabelled.real is not None and unlabelled.real.probe is None


def test_training_pictures_may_be_all_alike() -> None:
    report = evaluated(train=PictureSet(pictures=torch.full((4, 3, 8, 8), 0.5)))
    assert report.real is not None
    assert report.real.drawn == 4


def test_the_seed_draws_the_floor() -> None:
    first, again, other = evaluated(seed=0), evaluated(seed=0), evaluated(seed=1)
    assert first == again
    assert first.real is not None and other.real is not None
    assert first.real.frechet == other.real.frechet
    assert first.real.frechet_drawn != other.real.frechet_drawn


def test_tables_name_the_space_and_both_numbers() -> None:
    report = evaluated()
    lines = report.table().splitlines()
    assert lines[0] == (
        "| pictures | Fréchet distance on mean-colours | recognised, % | classes from 50 % "
        "| nearest by features | near, % | nearest by pixels | near, % |"
    )
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| level 1",
        "| level 2",
        "| 30 pictures of training",
        "| all of training",
        "| reference",
    ]
    assert len({line.count("|") for line in lines}) == 1
    assert report.summary().splitlines()[0] == (
        "30 samples at each level, against 60 pictures of the reference; 90 pictures of training."
    )
    assert "not FID" in report.summary()
    assert "singular" not in report.summary()
    assert "FID" not in report.table()
    table = report.class_table()
    assert table is not None
    assert [line.split(" | ")[0] for line in table.splitlines()] == [
        "| recognised, %",
        "| ---",
        "| blue",
        "| green",
        "| red",
    ]
    assert report.markdown().endswith(table + "\n")


def test_too_few_pictures_for_the_features_are_said() -> None:
    few = evaluated(samples={1: picture_set(12, 1)})
    assert (
        "12 samples are too few for 12 features: their covariance is singular, and few pictures "
        "make the distance larger." in few.summary()
    )


def test_the_report_is_strict_json(tmp_path: Path) -> None:
    report = evaluated(samples=[{1: picture_set(30, 1)}, {1: picture_set(30, 7)}])
    report.save(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert content["format"] == 2
    assert (content["space"], content["features"]) == ("mean-colours", 12)
    assert (content["samples"], content["reference"], content["train"]) == (30, 60, 90)
    assert [(row["seed"], row["level"]) for row in content["rows"]] == [(0, 1), (1, 1)]
    row = content["rows"][0]
    assert row["frechet"] == report.at(1)[0].frechet
    assert row["probe"]["red"]["of"] == 10
    assert set(row["nearest"]) == {"features", "pixels"}
    assert content["real"]["drawn"] == 30
    assert content["real"]["nearest"]["pixels"]["near"] == pytest.approx(0.05)

    evaluated(train=None).save(tmp_path / "bare.json")
    bare = json.loads((tmp_path / "bare.json").read_text("utf-8"))
    assert (bare["real"], bare["train"], bare["rows"][0]["nearest"]) == (None, None, None)


def test_levels_that_were_not_evaluated() -> None:
    with error("`level` must be one of 1, 2, which were evaluated, but is 3. Sample it too."):
        evaluated().frechet(3)


pictures, labels = coloured(30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"samples": {}},
            "`samples` must hold at least one level, but holds none. Pass {1: pictures}.",
        ),
        (
            {"samples": [{1: picture_set(30)}, {2: picture_set(30)}]},
            "Every seed must have the same levels, but the first has 1 and number 2 has 2. "
            "Leave out what not all have.",
        ),
        (
            {"samples": {1: picture_set(30), 2: picture_set(27)}},
            "Every level must have as many samples, as distances depend on the number, but there "
            "are: level 1 30, level 2 27. Sample again what is missing.",
        ),
        (
            {"samples": [{1: picture_set(30)}, {1: picture_set(27)}]},
            "Every level must have as many samples, as distances depend on the number, but there "
            "are: level 1 of seed number 1 30, level 1 of seed number 2 27. "
            "Sample again what is missing.",
        ),
        (
            {"samples": {1: PictureSet(pictures=pictures, labels=["pink", "grey", *labels[2:]])}},
            "Classes must be those of the training set (blue, green, red), but level 1 has "
            "grey, pink. Rename or remove it.",
        ),
        (
            {"reference": PictureSet(pictures=pictures, labels=["pink"] * 30)},
            "Classes must be those of the training set (blue, green, red), but the reference has "
            "pink. Rename or remove it.",
        ),
        (
            {
                "train": None,
                "samples": {1: PictureSet(pictures=pictures, labels=["pink"] * 30)},
            },
            "Classes must be those of the reference (blue, green, red), but level 1 has pink. "
            "Rename or remove it.",
        ),
        (
            {"samples": {1: PictureSet(pictures=pictures, labels=labels[1:])}},
            "Each picture must have one label, but level 1 has 30 pictures and 29 labels. "
            "Pass as many, or none.",
        ),
        (
            {"reference": PictureSet(pictures=[])},
            "A Fréchet distance needs at least 2 pictures on each side, but the reference is "
            "empty. Add pictures.",
        ),
        (
            {"samples": {1: picture_set(1)}},
            "A Fréchet distance needs at least 2 pictures on each side, but level 1 holds 1. "
            "Add pictures.",
        ),
        (
            {"samples": {1: picture_set(30), 2: picture_set(30, side=32)}},
            "Samples must have one size, but there are 24x24, 32x32. Evaluate one at a time.",
        ),
        (
            {"samples": {1: PictureSet(pictures=pictures[:, :1])}},
            "Pictures must be float tensors (N, 3, H, W) in [0, 1], but level 1 holds "
            "torch.float32 (30, 1, 24, 24). Pass RGB.",
        ),
        (
            {"samples": {1: PictureSet(pictures=2 * torch.ones(4, 3, 8, 8))}},
            "Pictures must lie in [0, 1], but level 1 has values from 2 to 2. "
            "Clamp or rescale them.",
        ),
        (
            {"samples": {1: PictureSet(pictures=torch.full((4, 3, 8, 8), nan))}},
            "Pictures must lie in [0, 1], but level 1 has values from nan to nan. "
            "Clamp or rescale them.",
        ),
    ],
)
def test_generation_errors_teach(change: dict[str, Any], message: str) -> None:
    with error(message):
        evaluated(**change)


def test_the_generation_report_is_a_value() -> None:
    report = evaluated()
    assert replace(report, samples=31) != report == evaluated()
