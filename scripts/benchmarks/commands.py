"""Whole commands timed as a user runs them."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A process starts with the memory peak of the one that started it, so a small one does.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


def run_logged(words: list[str], folder: Path, environment: dict[str, str], log: Path, name: str) -> float:
    """Run a command in a folder to its end; returns its peak memory, MB. ValueError with its last line if it fails."""
    peak = log.with_suffix(".peak")
    with log.open("w", encoding="utf-8") as file:
        outer = [sys.executable, "-S", "-c", MEASURE, str(peak), *words]
        done = subprocess.run(outer, cwd=folder, stdout=file, stderr=file, env=environment, check=False)
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise ValueError(f"{name} failed: {''.join(last)}")
    return int(peak.read_text()) / 1e3


@dataclass
class Command:
    """A command with --num_test, run on fewer and on more images, so that its start cancels out."""

    name: str
    words: list[str]
    folder: Path
    environment: dict[str, str]
    few: int
    many: int
    rates: list[float] = field(default_factory=list)
    memory: float = 0.0

    def run(self) -> None:
        """Both runs; adds to rates (images a second) and memory (MB, of the main process)."""
        self.folder.mkdir(exist_ok=True)
        seconds = []
        for count in (self.few, self.many):
            words, log = [*self.words, "--num_test", str(count)], self.folder / "command.log"
            begun = time.perf_counter()
            memory = run_logged(words, self.folder, self.environment, log, self.name)
            seconds.append(time.perf_counter() - begun)
            self.memory = max(self.memory, memory)
        if seconds[1] <= seconds[0]:
            raise ValueError(
                f"{self.name}: {self.many} images took no longer than {self.few}, so its start hides its speed: give "
                "more --images"
            )
        self.rates.append((self.many - self.few) / (seconds[1] - seconds[0]))

    def row(self) -> dict[str, Any]:
        """Its line of a report."""
        rate = sorted(self.rates)[len(self.rates) // 2]
        return {"what": self.name, "images_per_second": rate, "ms_per_image": 1e3 / rate, "memory_mb": self.memory}
