"""A run is one folder: options.json, losses.jsonl, last.pt, weights as safetensors, web/."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from util.fingerprint import stamp
from util.lock import LOCK

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 200  # bytes of a name that more is added to; file systems allow 255
CHECKPOINT_FORMAT = 2  # of last.pt; raised when what it holds changes
RATES = ("lr", "images_per_second", "data_wait", "memory")  # in records of losses


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's refusal behind an error: torch.save, for one, raises its own over that of a full disk."""
    while error is not None and (not isinstance(error, OSError) or error.errno is None):
        error = error.__cause__ or error.__context__
    return error


def part_of(path: Path, ending: str = "") -> Path:
    """What a file is called while this process writes it. A name that leaves no room for more is shortened."""
    name = path.name
    if len(os.fsencode(name)) > LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return path.with_name(f".{name}.{os.getpid()}.part{ending}")


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """A context whose OSErrors name path, where they name no file or its part: a full disk names none."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = _system_error(error)
        if getattr(cause or error, "filename", "") not in (None, str(part), part):
            raise
        if cause is None:  # Pillow's own words, such as "encoder error -2 when writing image file"
            raise OSError(f"{path}: cannot be written ({error}); is the disk full?") from None
        raise OSError(cause.errno, cause.strerror, str(path)) from None


@contextmanager
def beside(path: Path, ending: str = "") -> Iterator[Path]:
    """A file to write that is renamed to `path` once it is whole: no reader sees half of it, no crash leaves half.

    ending: of its name. An OSError names path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path, ending)
    try:
        with naming(path, part):
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as `beside` does."""
    with beside(path) as part:
        part.write_bytes(content)


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed left half-written in a folder, which no other process writes to now."""
    for part in folder.glob(".*.part*"):
        part.unlink(missing_ok=True)


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


def code_version() -> str:
    """The commit this code stands at, with "+" where it has been changed since; "unknown" outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


class RunFolder:
    """Paths of a run and what is written there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.options = path / "options.json"
        self.losses = path / "losses.jsonl"
        self.checkpoint = path / "last.pt"
        self.web = path / "web"
        self.loaded: list[Any] = []  # the stamp of the checkpoint that was loaded

    def weights(self, name: str) -> Path:
        """Weights for use: best, last, or an epoch's number."""
        return self.path / (f"epoch_{int(name):04d}.safetensors" if name.isdecimal() else f"{name}.safetensors")

    def write_options(self, options: dict[str, Any], facts: dict[str, Any]) -> None:
        """All options, and facts about the run beside them."""
        content = {"options": options, "code": code_version(), "torch": torch.__version__} | facts
        write_whole(self.options, json.dumps(content, indent=2).encode())

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Everything needed to go on exactly."""
        with beside(self.checkpoint) as part, part.open("wb") as file:
            torch.save(state, file)

    def check_free(self) -> None:
        """ValueError where a new run cannot have this folder: it is a run's that has come to something, or no run's."""
        if self.checkpoint.exists():
            raise ValueError(f"{self.path} holds a run: add --continue_train to go on with it, or give another --name")
        inside = {path.name for path in self.path.iterdir() if path.name != LOCK} if self.path.is_dir() else set()
        weights = sorted(name for name in inside if name.endswith(".safetensors"))
        if inside and (weights or not self._is_run()):
            what = f"weights ({weights[0]})" if weights else f"files that are of no run ({min(inside)})"
            raise ValueError(f"{self.path} holds {what}, which a new run would mix with its own: give another --name")

    def _is_run(self) -> bool:
        """Whether options.json is one that write_options wrote."""
        return self.options.is_file() and {"options", "code"} <= (record_in(self.options.read_bytes()) or {}).keys()

    def clear(self) -> None:
        """Remove what an earlier run of this name left that never came to a checkpoint, nor to weights."""
        self.losses.unlink(missing_ok=True)
        shutil.rmtree(self.web, ignore_errors=True)
        self.remove_parts()

    def remove_parts(self) -> None:
        """As the function, of all folders of the run."""
        for folder in (self.path, self.web, self.web / "images", self.web / "grids"):
            remove_parts(folder)

    def load_checkpoint(self) -> dict[str, Any]:
        """The state last saved, on the CPU; ValueError where there is none or it is damaged."""
        if not self.checkpoint.is_file():
            raise ValueError(f"{self.checkpoint}: no checkpoint to go on from; leave out --continue_train")
        self.loaded = stamp(self.checkpoint)
        with self.checkpoint.open("rb"):  # an OSError names the file
            pass
        try:
            with zipfile.ZipFile(self.checkpoint) as parts:  # torch does not look at the sums in it
                damaged = parts.testzip()
            state = None if damaged else torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception:  # a damaged file fails in many ways inside zipfile and torch
            state = None
        if not isinstance(state, dict):
            raise ValueError(
                f"{self.checkpoint}: is damaged, or no checkpoint of train.py, so the run cannot go on from it; its "
                "weights (safetensors) can still be used. Put a copy in its place, or train with another --name"
            )
        if state.get("format") != CHECKPOINT_FORMAT:
            raise ValueError(
                f"{self.checkpoint}: was written by another version of this code and cannot be continued by this one; "
                "its weights (safetensors) can still be used. Train with another --name"
            )
        return state

    def check_unchanged(self) -> None:
        """ValueError where the checkpoint is no longer the one that was loaded."""
        if stamp(self.checkpoint) != self.loaded:
            raise ValueError(f"{self.checkpoint}: another command has gone on with the run meanwhile; start anew")

    def records(self) -> list[dict[str, Any]]:
        """Every line of losses.jsonl that is a record of a run."""
        return [record for record in read_lines(self.losses) if is_record(record)]

    def append(self, record: dict[str, Any]) -> None:
        """One more line of losses.jsonl."""
        with naming(self.losses), self.losses.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the records after a step: the run goes on from there and will write them again."""
        kept = [record for record in self.records() if record["step"] <= step]
        write_whole(self.losses, "".join(json.dumps(record) + "\n" for record in kept).encode())
