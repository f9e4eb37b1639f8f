"""What a results folder holds already: made.jsonl, so that a half-done folder goes on where it stopped.

Its first line says by what the results are made; every other line is one finished result, written after its files."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from util.run_folder import read_lines, write_whole


def other_than(key: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of the key is another than that of the records in these lines; nothing where they have no key."""
    key, before = json.loads(json.dumps(key)), lines[0].get("made_by") if lines else None
    return [] if before in (None, key) else sorted(k for k in key | before if key.get(k) != before.get(k))


class Made:
    """Records of finished results, name -> record, kept in a file. Safe to add to from several threads."""

    def __init__(self, path: Path, key: Mapping[str, Any], overwrite: bool = False) -> None:
        """key: by what results are made. Records made by another key, or if overwrite, are forgotten."""
        self.path, self.lock = path, threading.Lock()
        lines = read_lines(path)
        before = lines[0].get("made_by") if lines and not overwrite else None
        key = json.loads(json.dumps(key))
        self.changed = [] if overwrite else other_than(key, lines)
        """What of the key is another than that of the records forgotten."""
        self.forgotten = [] if before == key else [line["name"] for line in lines[1:] if "name" in line]
        """Names of results whose records are forgotten; their files may still be there."""
        self.records = {line["name"]: line for line in lines[1:] if "name" in line} if before == key else {}
        content = [{"made_by": key}, *self.records.values()]
        write_whole(path, "".join(json.dumps(line) + "\n" for line in content).encode())

    def add(self, name: str, record: Mapping[str, Any]) -> None:
        """One more finished result; its files must be there in full."""
        line = {"name": name, **record}
        with self.lock, self.path.open("a", encoding="utf-8") as file:
            self.records[name] = line
            file.write(json.dumps(line) + "\n")
