"""Stages are checked before anything is written."""

import pytest

from launching import Resources, Stage
from launching.stage import check_stages, in_arrays


def stage(name: str, **settings: object) -> Stage:
    return Stage(name=name, function="module:function", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            [stage("Train It")],
            "A stage's name must be made of lower-case letters, digits, dots and dashes, but is "
            "'Train It'.",
        ),
        ([stage("a"), stage("a")], "A stage's name must be its own, but 'a' is used twice."),
        (
            [Stage(name="a", function="train")],
            "A stage's function must be 'module:function', but is 'train'.",
        ),
        (
            [stage("a"), stage("b", after=("c",)), stage("c")],
            "A stage must come after those that it waits for, but 'b' waits for 'c'. Before it "
            "are: a.",
        ),
        (
            [stage("a", array="x"), stage("b", array="x", after=("a",))],
            "The stages of array 'x' run side by side, but 'b' waits for another of them. Leave "
            "its array out.",
        ),
    ],
)
def test_what_cannot_run_in_order_is_refused(stages: list[Stage], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        check_stages(stages)
    assert str(refusal.value) == message


def test_an_array_asks_for_one_thing() -> None:
    other = Resources(minutes=5)
    with pytest.raises(ValueError) as refusal:
        check_stages([stage("a", array="x"), stage("b", array="x", resources=other)])
    assert str(refusal.value) == (
        f"The stages of array 'x' must ask for the same, but 'b' asks for {other} and 'a' for "
        f"{Resources()}."
    )


def test_neighbours_of_one_name_are_one_array() -> None:
    stages = [
        *(stage("a"), stage("b", array="x"), stage("c", array="x"), stage("d", array="y")),
        *(stage("e"), stage("f", array="x")),
    ]
    found = [[s.name for s in group] for group in in_arrays(stages)]
    assert found == [["a"], ["b", "c"], ["d"], ["e"], ["f"]]


@pytest.mark.parametrize("name", ["nodes", "tasks_per_node", "cpus_per_task", "minutes"])
def test_resources_are_at_least_one(name: str) -> None:
    with pytest.raises(ValueError) as refusal:
        Resources(**{name: 0})
    assert str(refusal.value) == f"`{name}` must be at least 1, but is 0."
