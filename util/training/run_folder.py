"""A run is one folder: options.json, losses.jsonl, last.pt, weights as safetensors, web/."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from util.files import LOCK, beside, code_version, naming, remove_parts, stamp, write_whole
from util.json_file import read_lines, record_in
from util.training.run_reader import is_record

CHECKPOINT_FORMAT = 3  # of last.pt; raised when what it holds changes
BEST_BEFORE = "best_before"  # name of weights that were the best by scores which later ones are not compared with


class RunFolder:
    """Paths of a run and what is written there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.options = path / "options.json"
        self.losses = path / "losses.jsonl"
        self.checkpoint = path / "last.pt"
        self.web = path / "web"
        self.cache = path / "cache"  # of --cache disk, which may be there before the run
        self.loaded: list[Any] = []  # the stamp of the checkpoint that was loaded

    def weights(self, name: str) -> Path:
        """Name the file of weights for use: best, last, or an epoch's number."""
        return self.path / (f"epoch_{int(name):04d}.safetensors" if name.isdecimal() else f"{name}.safetensors")

    def write_options(self, options: dict[str, Any], facts: dict[str, Any]) -> None:
        """All options, and facts about the run beside them."""
        content = {"options": options, "code": code_version(), "torch": torch.__version__} | facts
        write_whole(self.options, json.dumps(content, indent=2).encode())

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Everything needed to go on exactly."""
        with beside(self.checkpoint) as part, part.open("wb") as file:
            torch.save(state, file)

    def set_aside_best(self) -> None:
        """Rename the best weights, so that nobody takes them for the best of what comes."""
        if (best := self.weights("best")).is_file():
            best.replace(self.weights(BEST_BEFORE))

    def check_free(self) -> None:
        """ValueError where a new run cannot have this folder: it is a run's that has come to something, or no run's."""
        if self.checkpoint.exists():
            raise ValueError(f"{self.path} holds a run: add --continue_train to go on with it, or give another --name")
        aside = (LOCK, self.cache.name)
        inside = {path.name for path in self.path.iterdir()}.difference(aside) if self.path.is_dir() else set()
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
            remedy = "leave out --continue_train"
            if any(self.path.glob("*.safetensors")):
                remedy = f"train with another --name, and --init_from {self.path.name} for its weights"
            raise ValueError(f"{self.checkpoint}: no checkpoint to go on from; {remedy}")
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

    def append(self, record: dict[str, Any]) -> None:
        """One more line of losses.jsonl."""
        with naming(self.losses), self.losses.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the records after a step: the run goes on from there and will write them again."""
        kept = [line for line in read_lines(self.losses) if is_record(line) and line["step"] <= step]
        write_whole(self.losses, "".join(json.dumps(record) + "\n" for record in kept).encode())
