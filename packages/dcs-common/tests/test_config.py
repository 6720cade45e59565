"""Configs as JSON: nothing is lost, and every key that does not fit is named."""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from dcs_common.config import added, config_from_dict, config_to_dict
from dcs_common.rope import RopeConfig


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int
    names: tuple[str, str] = ("a", "b")


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    count: int
    share: float = 0.5
    exact: bool = False
    kind: Literal["full", "self"] = "full"
    reference: int | None = None
    other: Inner | None = None
    label: str = "x"


OUTER = Outer(inner=Inner(width=7), count=3)


@pytest.mark.parametrize(
    "config",
    [
        OUTER,
        replace(OUTER, share=0.1, exact=True, kind="self", reference=256, label=""),
        replace(OUTER, other=Inner(width=11, names=("c", "d"))),
        RopeConfig(spatial_steps=24, segment_horizon=8, segment_step=0.1, shares=(1, 2, 3, 4)),
    ],
)
def test_a_config_comes_back_through_json(config: object) -> None:
    text = json.dumps(config_to_dict(config))
    assert config_from_dict(type(config), json.loads(text)) == config


def test_whole_numbers_are_floats_where_floats_are_asked_for() -> None:
    config = config_from_dict(Outer, config_to_dict(OUTER) | {"share": 2})
    assert (config.share, type(config.share)) == (2.0, float)


OUTER_KEYS = "['count', 'exact', 'inner', 'kind', 'label', 'other', 'reference', 'share']"
KEYS = {
    "config": f"`config` must have the keys {OUTER_KEYS}, ",
    "config.inner": "`config.inner` must have the keys ['names', 'width'], ",
}
NEWER = "It may come from a newer release; update, or remove them."
AGAIN = "Save the model again."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 3, "a": 1}, KEYS["config"] + f"but also has ['a', 'depth']. {NEWER}"),
        (
            {"inner": {"width": 1, "names": ["a", "b"], "z": 0}},
            KEYS["config.inner"] + f"but also has ['z']. {NEWER}",
        ),
        ({"inner": {"names": ["a", "b"]}}, KEYS["config.inner"] + f"but lacks ['width']. {AGAIN}"),
        ({"inner": {"width": 1}}, KEYS["config.inner"] + f"but lacks ['names']. {AGAIN}"),
        ({"inner": 3}, "`config.inner` must be a JSON object, but is 3."),
        ({"count": 3.0}, "`config.count` must be of type <class 'int'>, but is 3.0."),
        ({"count": True}, "`config.count` must be of type <class 'int'>, but is True."),
        ({"count": None}, "`config.count` must be of type <class 'int'>, but is None."),
        ({"share": "0.5"}, "`config.share` must be of type <class 'float'>, but is '0.5'."),
        ({"share": True}, "`config.share` must be of type <class 'float'>, but is True."),
        ({"exact": 1}, "`config.exact` must be of type <class 'bool'>, but is 1."),
        ({"label": 1}, "`config.label` must be of type <class 'str'>, but is 1."),
        ({"kind": "none"}, "`config.kind` must be one of ('full', 'self'), but is 'none'."),
        ({"reference": "a"}, "`config.reference` must be of type <class 'int'>, but is 'a'."),
        ({"other": []}, "`config.other` must be a JSON object, but is []."),
        (
            {"inner": {"width": 1, "names": ["a"]}},
            "`config.inner.names` must be of type tuple[str, str], but is ['a'].",
        ),
        (
            {"inner": {"width": 1, "names": ["a", 2]}},
            "`config.inner.names` must be of type <class 'str'>, but is 2.",
        ),
        (
            {"inner": {"width": 1, "names": "ab"}},
            "`config.inner.names` must be of type tuple[str, str], but is 'ab'.",
        ),
    ],
)
def test_wrong_keys_and_types_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        config_from_dict(Outer, config_to_dict(OUTER) | change)


@pytest.mark.parametrize("key", ["count", "share", "reference"])
def test_missing_keys_are_errors_even_if_they_have_defaults(key: str) -> None:
    """A default may change between releases; a stored model must not change with it."""
    data = config_to_dict(OUTER)
    del data[key]
    message = KEYS["config"] + f"but lacks ['{key}']. {AGAIN}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        config_from_dict(Outer, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grown:
    """What a later release made of ``Inner``."""

    width: int
    names: tuple[str, str] = ("a", "b")
    depth: int | None = added(None)
    deep: bool = added(False)


def test_an_added_field_changes_nothing_until_it_is_used() -> None:
    """What was stored before loads, and what is stored without it is what was stored before."""
    before = config_to_dict(Inner(width=7))
    grown = Grown(width=7)
    assert config_from_dict(Grown, before) == grown
    assert config_to_dict(grown) == before
    assert (grown.depth, grown.deep) == (None, False)


@pytest.mark.parametrize(
    ("change", "stored"),
    [({"depth": 3}, {"depth": 3}), ({"deep": True}, {"deep": True}), ({"depth": 0}, {"depth": 0})],
)
def test_an_added_field_in_use_is_stored(change: dict[str, Any], stored: dict[str, Any]) -> None:
    grown = Grown(width=7, **change)
    data = config_to_dict(grown)
    assert data == config_to_dict(Inner(width=7)) | stored
    assert config_from_dict(Grown, json.loads(json.dumps(data))) == grown
    with pytest.raises(ValueError, match=r"`config` must have the keys .* but also has"):
        config_from_dict(Inner, data)


def test_fields_that_are_not_added_stay_required() -> None:
    message = (
        "`config` must have the keys ['deep', 'depth', 'names', 'width'], but lacks ['names']. "
        f"{AGAIN}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        config_from_dict(Grown, {"width": 7, "deep": True})


@pytest.mark.parametrize("data", [None, [], 3, "text"])
def test_what_is_no_object_is_refused(data: object) -> None:
    message = f"`model` must be a JSON object, but is {data!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        config_from_dict(Outer, data, "model")


def test_the_config_checks_its_values_itself() -> None:
    data = config_to_dict(RopeConfig(spatial_steps=4, segment_horizon=8)) | {"spatial_steps": 0}
    with pytest.raises(ValueError, match=r"^Rotary grids and horizons must be at least 1"):
        config_from_dict(RopeConfig, data)
