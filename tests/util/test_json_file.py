"""JSON that others wrote: what is read, and the one line for what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from util.json_file import parse_json, read_json, read_lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_any_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps({"name": "Fußgänger"}, ensure_ascii=False).encode(encoding))
    assert read_json(path) == {"name": "Fußgänger"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "brackets within brackets"),
        ('{"a":' * 100_000, "brackets within brackets"),
        ('{"a": ' + "9" * 5_000 + "}", "limit"),
        ('{"a": ' + "9" * 400 + "}", "a is 999999999999: JSON knows finite numbers only"),
        ('{"a": [1, {"b": NaN}]}', r"a\[1\].b is nan"),
        ('{"a": -Infinity}', "a is -inf"),
        ('{"a": 1e999}', "a is inf"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' stands twice"),
        ('{"a": 1', "line 1 column 8"),
        ("", "cannot be read as JSON"),
        ("[1]", "is not a JSON object"),
    ],
)
def test_damage_is_one_line_with_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as refusal:
        read_json(path)
    assert str(refusal.value).startswith(f"{path}: ") and "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200 + len(str(path))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(ValueError, match="is no plain file"):
        read_json(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"name": "Fu\xdfg\xe4nger"}')
    with pytest.raises(ValueError, match="latin.json: cannot be read as JSON"):
        read_json(tmp_path / "latin.json")


def test_numbers_as_others_write_them() -> None:
    assert parse_json('{"a": 1.7e308, "b": -0.0, "c": true, "d": 12345678901234567890}', "x") == {
        "a": 1.7e308, "b": 0.0, "c": True, "d": 12345678901234567890,
    }  # fmt: skip


def test_a_damaged_line_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    lines = ['{"step": 1}', "[" * 100_000, '{"step": ' + "9" * 5_000 + "}", "[1]", "7", '{"step": 2}', '{"st']
    path.write_text("\n".join(lines))
    assert read_lines(path) == [{"step": 1}, {"step": 2}]
