"""Frozen dataclasses as JSON, strictly: unknown or missing keys are errors."""

import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


def config_to_dict(config: object) -> dict[str, Any]:
    """Return a nested dict of JSON values."""
    result = {}
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if is_dataclass(value):
            value = config_to_dict(value)
        elif isinstance(value, tuple):
            value = list(value)
        result[field.name] = value
    return result


def config_from_dict(cls: type[Config], data: object, where: str = "config") -> Config:
    """Build a config from :func:`config_to_dict`'s result.

    Raises:
        ValueError: naming the key, if one is unknown, missing or of the wrong type.
    """
    if not isinstance(data, dict):
        raise ValueError(f"`{where}` must be a JSON object, but is {data!r}.")
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ValueError(
            f"`{where}` must have the keys {sorted(known)}, but also has {unknown}. "
            "It may come from a newer release; update, or remove them."
        )
    missing = sorted(
        name
        for name, field in known.items()
        if name not in data and field.default is MISSING and field.default_factory is MISSING
    )
    optional = sorted(set(known) - set(data) - set(missing))
    if missing or optional:
        raise ValueError(
            f"`{where}` must have the keys {sorted(known)}, but lacks {missing + optional}. "
            "Save the model again."
        )
    hints = get_type_hints(cls)
    return cls(**{name: _read(hints[name], data[name], f"{where}.{name}") for name in known})


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
