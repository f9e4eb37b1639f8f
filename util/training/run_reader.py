"""A run as the dashboard sees it: its folder, read again and again while it grows, and what state it is in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.json_file import record_in
from util.training.progress import grouped

Points = tuple[list[float], list[float]]  # steps, values

RATES = ("lr", "images_per_second", "data_wait", "memory")  # in records of losses
SILENT_S = 600.0  # a running run that has written nothing for so long may be gone
ENDS = {"finish": "finished", "stop": "stopped", "nan": "NaN", "error": "failed"}


def is_record(line: Mapping[str, Any]) -> bool:
    """Whether a line of losses.jsonl is of the shape that a run writes: losses, scores or an event, and when."""

    def numbers(values: Any) -> bool:
        return isinstance(values, dict) and all(type(value) in (int, float) for value in values.values())

    timed = {name: line[name] for name in ("step", "epoch", "time", *RATES) if name in line}
    if not numbers(timed) or not all(abs(value) < 1e11 for value in timed.values()):  # a time beyond is none
        return False
    scores, event = line.get("val", {}), line.get("event", "")
    return (
        "step" in line
        and numbers(line.get("losses", {}))
        and isinstance(scores, dict)
        and all(map(numbers, scores.values()))
        and ("val" not in line or (bool(scores) and "epoch" in line))
        and isinstance(event, str)
        and ("event" not in line or ("time" in line and isinstance(line.get("reason", ""), str)))
        and (event != "start" or numbers({name: line.get(name) for name in ("steps", "epochs")}))
    )


class RunReader:
    """The records of losses.jsonl, each read once, and options.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._file = folder / "losses.jsonl"
        self._forget()

    def _forget(self) -> None:
        self._inode, self._offset = 0, 0
        self.terms: dict[str, Points] = {}  # loss term -> its curve
        self.rates: dict[str, Points] = {}  # of RATES
        self.scores: list[dict[str, Any]] = []  # records of validations
        self.events: list[dict[str, Any]] = []  # records of beginnings and ends
        self.step, self.epoch, self.time = 0, 0, 0.0  # of the last record

    def read(self) -> None:
        """Take in what the run has written since; all of it anew where the file is another one (a resumed run
        drops the records after its checkpoint)."""
        try:
            facts = self._file.stat()
        except FileNotFoundError:
            self._forget()
            return
        if facts.st_ino != self._inode or facts.st_size < self._offset:
            self._forget()
            self._inode = facts.st_ino
        with self._file.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]  # the last line may not be complete yet
        self._offset += len(whole)
        for line in whole.splitlines():
            record = record_in(line)
            if record is not None and is_record(record):
                self._take(record)

    def _take(self, record: Mapping[str, Any]) -> None:
        step = record["step"]
        self.step, self.epoch = max(self.step, step), record.get("epoch", self.epoch)
        self.time = record.get("time", self.time)
        for term, value in record.get("losses", {}).items():
            _append(self.terms, term, step, value)
        for rate in RATES:
            if rate in record:
                _append(self.rates, rate, step, record[rate])
        if "val" in record:
            self.scores.append(dict(record))
        if "event" in record:
            self.events.append(dict(record))

    def options(self) -> dict[str, Any]:
        """What options.json holds; empty where there is none yet, or one of another shape."""
        try:
            found = record_in((self.folder / "options.json").read_bytes()) or {}
        except OSError:
            return {}
        groups, plots = found.get("options", {}), found.get("loss_groups", {})
        if not all(isinstance(part, dict) for part in (groups, plots, found.get("data", {}))):
            return {}
        shaped = all(isinstance(group, dict) for group in groups.values())
        return found if shaped and all(isinstance(terms, list) for terms in plots.values()) else {}

    def loss_groups(self) -> dict[str, list[str]]:
        """The recorded loss terms, by the method's groups, which options.json has."""
        return grouped(self.terms, self.options().get("loss_groups", {}))


def _append(curves: dict[str, Points], name: str, step: float, value: float) -> None:
    steps, values = curves.setdefault(name, ([], []))
    steps.append(step)
    values.append(value)


class RunState:
    """What a run is doing, as far as its records tell."""

    def __init__(self, run: RunReader, now: float | None = None) -> None:
        now = time.time() if now is None else now
        starts = [event for event in run.events if event["event"] == "start"]
        last = run.events[-1] if run.events else None
        self.word = ENDS.get(last["event"], "running") if last else "unknown"
        self.reason = last.get("reason", "") if last else ""
        self.silent_s = now - run.time if self.word == "running" and run.time else 0.0
        self.steps = starts[-1]["steps"] if starts else 0
        self.epochs = starts[-1]["epochs"] if starts else 0
        self.metric = starts[-1].get("metric", "") if starts else ""  # the score that decides which weights are best
        self.begun = starts[0]["time"] if starts else None
        self.resumed = len(starts) - 1
        self.seconds = _worked(run)
        self.left_s = None
        if self.word == "running" and starts and run.step > starts[-1]["step"]:
            begun, epoch, done = starts[-1]["step"], starts[-1]["epoch"], run.step - starts[-1]["step"]
            inside = begun - epoch * self.steps  # of its epoch: epochs before may have had other numbers of steps
            left = (self.epochs - epoch) * self.steps - (inside if 0 <= inside < self.steps else 0) - done
            self.left_s = max(0.0, left * (run.time - starts[-1]["time"]) / done)

    @property
    def is_silent(self) -> bool:
        """Whether a run that never ended has written nothing for long: it may have been killed."""
        return self.silent_s > SILENT_S


def _worked(run: RunReader) -> float:
    """Seconds from each beginning to its end, or to the last record before the next beginning."""
    total, begun = 0.0, None
    for event in run.events:
        if event["event"] == "start":
            begun = event["time"]
        elif begun is not None:
            total, begun = total + event["time"] - begun, None
    return total + (max(0.0, run.time - begun) if begun is not None else 0.0)


def comparable_scores(run: RunReader) -> list[dict[str, Any]]:
    """The validations since scores last began to be of other images or another metric."""
    anew = [event["step"] for event in run.events if event.get("judged_anew") and "step" in event]
    return [record for record in run.scores if not anew or record["step"] > anew[-1]]


def best_scores(run: RunReader, higher: Mapping[str, bool]) -> dict[str, tuple[str, float, int]]:
    """metric -> (method that is trained, its best value, epoch), of those scores that can be compared with the last;
    the trained method is the first of a record."""
    found: dict[str, tuple[str, float, int]] = {}
    for record in comparable_scores(run):
        output_name, values = next(iter(record["val"].items()))
        for metric, value in values.items():
            if value != value:
                continue
            sign = 1 if higher.get(metric, True) else -1
            if metric not in found or sign * value > sign * found[metric][1]:
                found[metric] = (output_name, value, record["epoch"])
    return found
