"""A run is one folder: options.json, losses.jsonl, last.pt, weights as safetensors, web/."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT_FORMAT = 2  # of last.pt; raised when what it holds changes


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """A context whose OSErrors name path, where they name no file or its part: a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(part), part):
            raise
        if error.errno is None:  # Pillow's own words, such as "encoder error -2 when writing image file"
            raise OSError(f"{path}: cannot be written ({error}); is the disk full?") from None
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def beside(path: Path, ending: str = "") -> Iterator[Path]:
    """A file to write that is renamed to `path` once it is whole: no reader sees half of it, no crash leaves half.

    ending: of its name. An OSError names path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part{ending}")
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
    for part in folder.glob(".*.part"):
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

    def weights(self, name: str) -> Path:
        """Weights for use: best, last, or an epoch's number."""
        return self.path / (f"epoch_{int(name):04d}.safetensors" if name.isdigit() else f"{name}.safetensors")

    def write_options(self, options: dict[str, Any], facts: dict[str, Any]) -> None:
        """All options, and facts about the run beside them."""
        content = {"options": options, "code": code_version(), "torch": torch.__version__} | facts
        write_whole(self.options, json.dumps(content, indent=2).encode())

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Everything needed to go on exactly."""
        with beside(self.checkpoint) as part, part.open("wb") as file:
            torch.save(state, file)

    def clear(self) -> None:
        """Remove what an earlier run of this name left that never came to a checkpoint."""
        for leftover in self.path.glob("*.safetensors"):
            leftover.unlink()
        self.losses.unlink(missing_ok=True)
        shutil.rmtree(self.web, ignore_errors=True)

    def load_checkpoint(self) -> dict[str, Any]:
        """The state last saved, on the CPU; ValueError where there is none or it is damaged."""
        if not self.checkpoint.is_file():
            raise ValueError(f"{self.checkpoint}: no checkpoint to go on from; leave out --continue_train")
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in many ways inside torch
            raise ValueError(f"{self.checkpoint}: cannot be read ({type(error).__name__}: {error})") from None
        if state.get("format") != CHECKPOINT_FORMAT:
            raise ValueError(
                f"{self.checkpoint}: was written by another version of this code and cannot be continued by this one; "
                "its weights (safetensors) can still be used. Train with another --name"
            )
        return state

    def records(self) -> list[dict[str, Any]]:
        """Every complete line of losses.jsonl."""
        return read_lines(self.losses)

    def append(self, record: dict[str, Any]) -> None:
        """One more line of losses.jsonl."""
        with naming(self.losses), self.losses.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the records after a step: the run goes on from there and will write them again."""
        kept = [record for record in self.records() if record["step"] <= step]
        write_whole(self.losses, "".join(json.dumps(record) + "\n" for record in kept).encode())
