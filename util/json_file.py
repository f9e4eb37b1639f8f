"""JSON that a user or another program wrote: read strictly, or refused in one line that says where and why. Lines of
JSON that a command has written: those that are whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


class JsonError(ValueError):
    """Text that is no JSON, or no JSON that can be used."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file in UTF-8, UTF-16 or UTF-32, with a byte order mark or without; ValueError naming the
    file otherwise."""
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    if not path.is_file():  # a pipe or a device may never end
        raise ValueError(f"{path}: is no plain file: give a file of JSON")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    values = parse_json(content, str(path))
    if not isinstance(values, dict):
        raise ValueError(f"{path}: is not a JSON object")
    return values


def parse_json(content: bytes | str, where: str) -> Any:
    """What JSON says; JsonError, beginning with `where`, where it is damaged, names a value twice, or holds a number
    that is none (NaN, infinity or beyond 1.8e308)."""
    try:
        value = json.loads(content, object_pairs_hook=_unique)
        found = _not_finite(value).removeprefix(".")
    except RecursionError:
        raise JsonError(f"{where}: cannot be read as JSON (brackets within brackets without end)") from None
    except ValueError as error:  # of syntax, of the encoding, or a number of thousands of digits
        raise JsonError(f"{where}: cannot be read as JSON ({str(error).split(';')[0]})") from None
    if found:
        raise JsonError(f"{where}: {found}: JSON knows finite numbers only; give one, or leave the entry out")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in an object")
    return values


def _not_finite(value: Any) -> str:
    """Say where a number is not finite, e.g. "annotations[3].bbox[2] is nan"; empty where every number is one."""
    if isinstance(value, (int, float)):
        return "" if abs(value) <= sys.float_info.max else f" is {str(value):.12}"
    if isinstance(value, dict):
        items = ((f".{name}", item) for name, item in value.items())
    elif isinstance(value, list):
        items = ((f"[{place}]", item) for place, item in enumerate(value))
    else:
        return ""
    return next((name + found for name, item in items if (found := _not_finite(item))), "")


def record_in(line: str | bytes) -> dict[str, Any] | None:
    """The record in a line of JSON; None where it is torn, as a killed process leaves it, damaged, or no record."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole record of a file of JSON lines, none without a file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [record for line in lines if (record := record_in(line)) is not None]


def is_size(value: Any) -> bool:
    """Whether a value read back is two whole numbers of at least 1."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) and side >= 1 for side in value)
