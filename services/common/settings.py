"""Read a node's settings: one JSON file into a frozen dataclass."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
SCALARS = {bool: "true or false", int: "a whole number", str: "a text"}


class SettingsError(ValueError):
    """A setting that the service cannot start with; says which, and what is known."""


def read_settings(path: str | Path, kind: type[T]) -> T:
    """Read ``path`` into ``kind``, a frozen dataclass; missing keys take its defaults.

    Raises `SettingsError`, one sentence, for a file that cannot be read, an unknown
    or missing key, and a value of the wrong type.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    try:
        values = json.loads(content)
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON: {error}") from error
    built: T = _build("settings", kind, values)
    return built


def _build(where: str, kind: Any, values: Any) -> Any:
    if not isinstance(values, dict):
        raise SettingsError(f"{where}: expected a mapping, got {_show(values)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    _refuse_unknown(where, fields, values)
    types_of = typing.get_type_hints(kind)
    return kind(
        **{
            name: _convert(name, types_of[name], value)
            for name, value in values.items()
        }
    )


def _refuse_unknown(
    where: str, fields: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    unknown = [key for key in values if key not in fields]
    if unknown:
        known = ", ".join(sorted(fields))
        raise SettingsError(f"{where}: unknown key {unknown[0]!r}; known: {known}")
    nothing = dataclasses.MISSING
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is nothing
        and field.default_factory is nothing
    ]
    if missing:
        raise SettingsError(f"{where}: {missing[0]!r} is missing")


def _convert(key: str, kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _optional(key, arguments, value)
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingsError(f"{key}: expected a list, got {_show(value)}")
        return tuple(_convert(key, arguments[0], item) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise SettingsError(f"{key}: expected a mapping, got {_show(value)}")
        return {
            name: _convert(name, arguments[1], item) for name, item in value.items()
        }
    if dataclasses.is_dataclass(kind):
        return _build(key, kind, value)
    return _scalar(key, kind, value)


def _optional(key: str, kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in kinds:
        return None
    kind = next(kind for kind in kinds if kind is not type(None))
    return _convert(key, kind, value)


def _scalar(key: str, kind: Any, value: Any) -> Any:
    if kind is float and type(value) in (int, float):
        return float(value)
    if type(value) is not kind:
        expected = SCALARS.get(kind, "a number")
        raise SettingsError(f"{key}: expected {expected}, got {_show(value)}")
    return value


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
