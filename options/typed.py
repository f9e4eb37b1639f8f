"""A dataclass of options from the values of a JSON file, each of the option's own type."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path", type(None): "null"
}  # fmt: skip


def _as(hint: Any, value: Any) -> Any:
    """The value as one plain type; TypeError where it is of another."""
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if isinstance(value, list):
            return tuple(_as(item, each) for each in value)
        if item is Path:  # earlier runs had one --dataroot
            return (_as(item, value),)
    if typing.get_origin(hint) is typing.Literal and value in typing.get_args(hint):
        return value
    if hint in (bool, types.NoneType, int) and type(value) is hint:
        return value
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint in (str, Path) and type(value) is str and "\0" not in value:
        return hint(value)
    raise TypeError


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _described(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(json.dumps, typing.get_args(hint)))}"
    return WORDS.get(hint, "a list")


def _typed(hint: Any, value: Any, name: str, where: str) -> Any:
    """A value of a JSON file as the option's type, of which text is none of a number, or the other way round."""
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for choice in choices:
        with contextlib.suppress(TypeError, OverflowError):
            return _as(choice, value)
    wanted = " or ".join(_described(choice) for choice in choices)
    raise ValueError(f"{where}: {name} is {_shown(value)}: give {wanted}")


def from_dict(cls: type[T], values: Any, where: str) -> T:
    """Inverse of util.command_line.to_dict. Options that `values` lacks take their defaults; a ValueError, which begins
    with `where`, names one that is unknown, of another type than the option's, or out of its limits."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: {_shown(values)} stands where a group of options belongs: write it anew")
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(f"{where}: unknown options {', '.join(unknown)}; remove them from the file")
    typed = {name: _typed(hints[name], value, name, where) for name, value in values.items()}
    try:
        return cls(**typed)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
