"""Every experiment: that its stages can be run, at both sizes, and that its claims are answered."""

import importlib
from pathlib import Path

import pytest

from launching import Experiment, Options
from launching.job import function_of
from launching.stage import check_stages
from records import EXPERIMENTS

HERE = Path(__file__).resolve().parents[1]
NAMES = tuple(experiment.name for experiment in EXPERIMENTS)


def experiment_of(name: str) -> Experiment:
    return importlib.import_module(name).EXPERIMENT  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NAMES)
def test_the_script_is_the_experiment(name: str) -> None:
    found = experiment_of(name)
    assert found.name == name
    assert tuple(found.presets) == ("tiny", "paper") == tuple(found.plans)
    assert found.title == next(e.title for e in EXPERIMENTS if e.name == name)
    assert callable(function_of(found.report))
    text = (HERE / f"{name}.py").read_text()
    assert text.rstrip().endswith('if __name__ == "__main__":\n    main(EXPERIMENT)')


@pytest.mark.parametrize("name", NAMES)
def test_the_small_form_needs_nothing(name: str) -> None:
    found = experiment_of(name)
    stages = found.stages(Options(seeds=found.seeds.get("tiny", 1)))
    check_stages(stages)
    for stage in stages:
        assert callable(function_of(stage.function)), stage.function
        assert stage.resources.gpus_per_node == 0
        assert stage.resources.nodes == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_form_runs_where_its_data_is(name: str, tmp_path: Path) -> None:
    found = experiment_of(name)
    data, held_out = tmp_path / "data", tmp_path / "held-out"
    options = Options(
        preset="paper",
        data=(str(data), str(tmp_path / "more")),
        held_out=(str(held_out),),
        labels=str(tmp_path / "captions.csv"),
        device="cuda",
    )
    stages = found.stages(options)
    check_stages(stages)
    for stage in stages:
        assert callable(function_of(stage.function)), stage.function
    assert any(stage.resources.gpus_per_node for stage in stages)


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_is_answered_somewhere(name: str) -> None:
    (expected,) = (e for e in EXPERIMENTS if e.name == name)
    aside = (HERE / "tests", HERE / "records")
    scripts = [p for p in HERE.glob("**/*.py") if not any(p.is_relative_to(a) for a in aside)]
    text = "".join(path.read_text() for path in scripts)
    for claim in expected.claims:
        assert f'"{claim.key}"' in text
