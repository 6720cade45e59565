"""`compare_generators`: one table of several generators, their times, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from dcs_eval import PictureSet, evaluate_generation
from dcs_eval.comparison.generator_comparison import GeneratorComparison
from dcs_eval.comparison.generators import compare_generators
from dcs_eval.comparison.sampling_times import SamplingTimes

from .errors import error
from .plain_features import MeanColours, coloured

WRITTEN = {
    "format": 1,
    "samples": 30,
    "steps": [50, 12],
    "first_preview_seconds": 1.5,
    "seconds": 20,
    "batch_size": 8,
    "device": "a CPU",
    "threads": 1,
    "precision": "float32",
    "models": {"base": "0123"},
    "guidance_scale": 2.0,
    "seed": 0,
}


def picture_set(count: int = 30, seed: int = 0) -> PictureSet:
    pictures, labels = coloured(count, seed)
    return PictureSet(pictures=pictures, labels=labels)


GENERATORS = {
    "ours": [
        {1: picture_set(seed=1), 2: picture_set(seed=2)},
        {1: picture_set(seed=5), 2: picture_set(seed=6)},
    ],
    "rival": [{1: picture_set(seed=7)}],
}


def compared(**changes: Any) -> GeneratorComparison:
    arguments: dict[str, Any] = {
        "generators": GENERATORS,
        "reference": picture_set(60, 3),
        "train": picture_set(90, 4),
        "features": MeanColours(),
        **changes,
    }
    return compare_generators(arguments.pop("generators"), arguments.pop("reference"), **arguments)


def times(folder: Path, **changes: Any) -> SamplingTimes:
    (folder / "sampling.json").write_text(json.dumps(WRITTEN | changes))
    found = SamplingTimes.read(folder)
    assert found is not None
    return found


def test_each_report_is_that_of_an_evaluation_by_itself() -> None:
    space = MeanColours()
    found = compared(features=space)
    alone = {
        name: evaluate_generation(
            seeds, picture_set(60, 3), features=MeanColours(), train=picture_set(90, 4)
        )
        for name, seeds in GENERATORS.items()
    }
    assert found.reports == alone
    # Real pictures were embedded once: 60 and 90, in batches of 64, and five sets of samples.
    assert sum(space.sizes) == 60 + 90 + 5 * 30


def test_the_table_has_a_row_for_each_generator_and_level(tmp_path: Path) -> None:
    both = (times(tmp_path), times(tmp_path, first_preview_seconds=2.5, seconds=40))
    found = compared(times={"ours": both})
    report = found.reports["ours"]
    share, classes = report.probe_share(2), report.classes(2)
    assert share is not None and classes is not None
    lines = found.table().splitlines()
    assert lines[0] == (
        "| generator | level | Fréchet distance on mean-colours | recognised, % | "
        "classes from 50 % | first preview, s | in all, s |"
    )
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| ours", "1"],
        ["| ours", "2"],
        ["| rival", "1"],
        ["| 30 pictures of training", "–"],
        ["| all of training", "–"],
    ]
    assert lines[3] == (
        f"| ours | 2 | {report.frechet(2).text(1)} | {100 * share.mean:.1f} ± "
        f"{100 * (share.half_width or 0):.1f} | {classes.reaching()} of 3 | 2.00 ± 6.35 | "
        "30.00 ± 127.06 |"
    )
    assert lines[4].endswith(" | – | – |")
    assert found.timing_notes() == (
        "Sampling, without decoding and writing:\n\n"
        "- ours: 50+12 steps, guidance scale 2, batches of 8, float32, a CPU, 1 thread"
    )
    said = found.markdown()
    assert said.startswith(
        "30 samples at each level and seed, against 60 pictures of the reference; 90 pictures of "
        "training. Seeds: ours 2, rival 1; ± is half the 95 % t interval over them.\n\nFréchet "
    )
    json.dumps(found.content(), allow_nan=False)
    assert found.content()["generators"]["ours"]["times"][1]["seconds"] == 40


def test_times_of_other_machines_are_told_apart(tmp_path: Path) -> None:
    slow, fast = times(tmp_path), times(tmp_path, threads=8)
    notes = compared(times={"ours": [slow], "rival": [slow]}).timing_notes()
    assert notes is not None and "not comparable" not in notes
    notes = compared(times={"ours": [slow], "rival": [fast]}).timing_notes()
    assert notes is not None
    assert notes.endswith(
        "- **Times are not comparable**: devices, threads, precisions or batches differ. "
        "Sample again."
    )
    assert compared().timing_notes() is None


def test_without_training_pictures_distances_are_left() -> None:
    lines = compared(train=None).table().splitlines()
    assert lines[0] == (
        "| generator | level | Fréchet distance on mean-colours | first preview, s | in all, s |"
    )
    assert len(lines) == 5


def test_comparisons_of_generators_that_cannot_be_made() -> None:
    with error("`generators` must hold at least one, but is empty. Pass {name: samples}."):
        compared(generators={})
    with error(
        "Every generator must have as many samples, as distances depend on the number, but there "
        "are: a 30, b 12. Sample what is missing, or move what is too much elsewhere."
    ):
        compared(generators={"a": [{1: picture_set()}], "b": [{1: picture_set(12)}]})
    with error(
        "A Fréchet distance needs at least 2 pictures on each side, but level 1 holds 1. "
        "Add pictures."
    ):
        compared(generators={"a": [{1: picture_set(1)}]})
    with error("`samples` must hold at least one level, but holds none. Pass {1: pictures}."):
        compared(generators={"a": [{}]})
    pink = PictureSet(pictures=coloured(2)[0], labels=("pink", "red"))
    with error(
        "Classes must be those of the training set (blue, green, red), but level 1 has pink. "
        "Rename or remove it."
    ):
        compared(generators={"a": [{1: pink}]})


def test_what_a_sampler_wrote_is_read(tmp_path: Path) -> None:
    assert SamplingTimes.read(tmp_path) is None
    found = times(tmp_path)
    assert (found.steps, found.seconds, found.guidance_scales) == ((50, 12), 20.0, (2.0,))
    assert found.guided
    assert times(tmp_path, guidance_scale=[1.0, 1.5]).guided
    assert "guidance scale 1+1.5, " in times(tmp_path, guidance_scale=[1.0, 1.5]).setting
    assert not times(tmp_path, guidance_scale=1).guided
    few = {key: WRITTEN[key] for key in ("format", "samples", "steps", "seconds", "device")}
    (tmp_path / "sampling.json").write_text(json.dumps(few | {"first_preview_seconds": 20}))
    least = SamplingTimes.read(tmp_path)
    assert least is not None
    assert least.setting == "50+12 steps, a CPU"
    assert not least.guided


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[1",
            "sampling.json must be a JSON object, but {} is not. Sample again, or remove it to "
            "leave times out.",
        ),
        (
            "[]",
            "sampling.json must be a JSON object, but {} is not. Sample again, or remove it to "
            "leave times out.",
        ),
        (
            '{"format": 2}',
            "The format of sampling.json must be 1, but {} has 2. Update dcs-eval, or remove the "
            "file to leave times out.",
        ),
        (
            '{"format": 1}',
            "sampling.json must be consistent, but {} is not (KeyError: 'samples'). Sample again, "
            "or remove it to leave times out.",
        ),
        (
            json.dumps(WRITTEN | {"first_preview_seconds": 21}),
            "sampling.json must be consistent, but {} is not (ValueError: a first preview after "
            "21 of 20 s). Sample again, or remove it to leave times out.",
        ),
    ],
)
def test_damaged_times_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "sampling.json"
    path.write_text(text)
    with error(message.replace("{}", str(path))):
        SamplingTimes.read(tmp_path)
