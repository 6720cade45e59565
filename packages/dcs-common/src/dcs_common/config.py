"""Frozen dataclasses as JSON, strictly: unknown or missing keys are errors.

A field that a later release adds is an :func:`added` one: it is stored only where it differs from
its default, so that what was saved before loads, and has the fingerprint it had.
"""

import types
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Config = TypeVar("Config")
Value = TypeVar("Value")
_ADDED = "dcs_common.config.added"


def added(default: Value) -> Value:
    """Return a dataclass field that came after configs were stored without it.

    Its default must be what models did before there was the field, and may never change.
    """
    return field(default=default, metadata={_ADDED: True})


def _may_be_left_out(known: "Field[Any]") -> bool:
    return _ADDED in known.metadata


def config_to_dict(config: object) -> dict[str, Any]:
    """Return a nested dict of JSON values, without :func:`added` fields at their defaults."""
    result = {}
    for known in fields(config):  # type: ignore[arg-type]
        value = getattr(config, known.name)
        if _may_be_left_out(known) and value == known.default:
            continue
        if is_dataclass(value):
            value = config_to_dict(value)
        elif isinstance(value, tuple):
            value = list(value)
        result[known.name] = value
    return result


def config_from_dict(cls: type[Config], data: object, where: str = "config") -> Config:
    """Build a config from :func:`config_to_dict`'s result.

    Raises:
        ValueError: naming the key, if one is unknown, missing or of the wrong type.
    """
    if not isinstance(data, dict):
        raise ValueError(f"`{where}` must be a JSON object, but is {data!r}.")
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ValueError(
            f"`{where}` must have the keys {sorted(known)}, but also has {unknown}. "
            "It may come from a newer release; update, or remove them."
        )
    absent = set(known) - set(data)
    absent = {name for name in absent if not _may_be_left_out(known[name])}
    missing = sorted(
        name
        for name in absent
        if known[name].default is MISSING and known[name].default_factory is MISSING
    )
    optional = sorted(absent - set(missing))
    if missing or optional:
        raise ValueError(
            f"`{where}` must have the keys {sorted(known)}, but lacks {missing + optional}. "
            "Save the model again."
        )
    hints = get_type_hints(cls)
    stored = (name for name in known if name in data)
    return cls(**{name: _read(hints[name], data[name], f"{where}.{name}") for name in stored})


def _read(kind: Any, value: object, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = get_args(kind)
        if value is None and type(None) in options:
            return None
        (kind,) = (option for option in options if option is not type(None))
        return _read(kind, value, where)
    if is_dataclass(kind):
        return config_from_dict(kind, value, where)  # type: ignore[arg-type]
    if origin is Literal:
        if value in get_args(kind):
            return value
        raise ValueError(f"`{where}` must be one of {get_args(kind)}, but is {value!r}.")
    if origin is tuple:
        kinds = get_args(kind)
        if isinstance(value, list) and kinds[1:] == (Ellipsis,):
            kinds = kinds[:1] * len(value)
        if isinstance(value, list) and len(value) == len(kinds):
            return tuple(_read(item, part, where) for item, part in zip(kinds, value, strict=True))
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"`{where}` must be of type {kind}, but is {value!r}.")
