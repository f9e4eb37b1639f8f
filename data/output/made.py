"""What a results folder holds already: made.jsonl, so that a half-done folder goes on where it stopped.

Its first line says by what the results are made; every other line is one finished result, written after its files. It
is also what tells a results folder from any other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from options.detection import PAGE
from util.files import alone_in, first_inside, naming, write_whole
from util.json_file import read_lines

MADE = "made.jsonl"


def _key_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    key = lines[0].get("made_by") if lines else None
    return key if isinstance(key, dict) else None


def other_than(key: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of the key is another than that of the records in these lines; nothing where they have no key."""
    key, before = json.loads(json.dumps(key)), _key_of(lines)
    return [] if before in (None, key) else sorted(k for k in key | before if key.get(k) != before.get(k))


def are_scores(value: Any, methods: Sequence[str] | None = None, metrics: Sequence[str] | None = None) -> bool:
    """Whether a value read back is method -> metric -> number, of just these methods and metrics if they are given."""
    return (
        isinstance(value, dict)
        and (methods is None or set(value) == set(methods))
        and all(isinstance(row, dict) and (metrics is None or set(row) == set(metrics)) for row in value.values())
        and all(isinstance(number, (int, float)) for row in value.values() for number in row.values())
    )


def is_size(value: Any) -> bool:
    """Whether a value read back is two whole numbers of at least 1."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) and side >= 1 for side in value)


def _is_name(name: Any) -> bool:
    """Whether it names a result: what is called otherwise may lie anywhere, and results are removed by their names."""
    return isinstance(name, str) and "\0" not in name and not {"..", "/"} & set(PurePosixPath(name).parts)


def records_in(lines: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Name -> record, of the lines behind the first; one that has no name of a result counts as none."""
    return {line["name"]: line for line in lines[1:] if _is_name(line.get("name"))}


class Made:
    """Records of finished results, name -> record, kept in a file. Safe to add to from several threads."""

    def __init__(
        self, path: Path, key: Mapping[str, Any], overwrite: bool = False,
        fits: Callable[[Mapping[str, Any]], bool] = bool,
    ) -> None:  # fmt: skip
        """key: by what results are made. Records made by another key, or if overwrite, are forgotten. fits: whether a
        record is as it should be; others count as none, as damaged lines do."""
        self.path, self.lock = path, threading.Lock()
        lines = read_lines(path)
        key = json.loads(json.dumps(key))
        same = _key_of(lines) == key and not overwrite
        named = records_in(lines)
        self.changed = [] if overwrite else other_than(key, lines)
        """What of the key is another than that of the records forgotten."""
        self.forgotten = [] if same else list(named)
        """Names of results whose records are forgotten; their files may still be there."""
        self.records = {name: line for name, line in named.items() if fits(line)} if same else {}
        content = [{"made_by": key}, *self.records.values()]
        write_whole(path, "".join(json.dumps(line) + "\n" for line in content).encode())

    def add(self, name: str, record: Mapping[str, Any]) -> None:
        """One more finished result; its files must be there in full."""
        line = {"name": name, **record}
        with self.lock, naming(self.path), self.path.open("a", encoding="utf-8") as file:
            self.records[name] = line
            file.write(json.dumps(line) + "\n")


@contextmanager
def own_folder(results_dir: Path, folder: Path, inputs: Iterable[Path], parts: Iterable[str]) -> Iterator[None]:
    """A context in which this command alone writes results in the folder, which --results_dir has. ValueError where
    another one does, where results would lie over inputs, or beside what no command that leaves MADE there wrote, but
    for scripts.evaluate_detection's page. parts: sub-folders that the command writes."""
    remedy = "give another --results_dir, or another name"
    if (hit := first_inside(inputs, [folder, *(folder / part for part in parts)])) is not None:
        raise ValueError(
            f"--results_dir {results_dir}: results would lie over {hit}, which this command reads; {remedy}"
        )
    there = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    others = sorted(name for name in there if name[0] != "." and name != PAGE)
    if others and not (folder / MADE).is_file():
        raise ValueError(
            f"--results_dir {results_dir}: {folder} holds {others[0]}, which this command did not write; {remedy}"
        )
    with alone_in(folder, f"wait for it, or {remedy}"):
        yield
