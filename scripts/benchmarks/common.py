"""What all benchmarks share: options, timing, the machine's own rates, pictures, the report, whole commands.

A benchmark is a module scripts/benchmarks/NAME.py with Options, which inherit from those here, and main(argv), its
command, which ends in Report.show and returns the exit status; and a line in scripts/benchmark.py. Figures are medians
after a warm-up; on CUDA the device's work is waited for."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.images import write_image
from data.sample import RenderedPair, render
from options.shared import DeviceOptions
from util.files import code_version, write_whole

WARM_UP = 2  # calls that are not counted
WIDEST = 150  # characters of a table's line
SCENES = 8  # rendered at most; more would only take longer
SEED = 910_000  # of the first, far from those of a sample data set
MATRIX_SIDE = {"cuda": 8192, "cpu": 2048}  # of the product that gives the matrix rate


@dataclass(frozen=True)
class BenchmarkOptions(DeviceOptions):
    """What every benchmark is told."""

    out: Path | None = None
    """JSON file to write; what is measured is in it at once."""


def streets(count: int) -> list[RenderedPair]:
    """Render count scenes, or SCENES if those are fewer, as both cameras see them: uint8 [512, 640, 3], [512, 640]."""
    return [render(SEED + number) for number in range(min(count, SCENES))]


def write_files(folder: Path, pictures: Iterable[np.ndarray], count: int, suffix: str) -> None:
    """Write count image files, 00000.png and so on for the suffix .png, of the pictures again and again.

    A repeated picture is a hard link: files of their own would only take longer to write."""
    written: list[Path] = []
    for number, picture in zip(range(count), pictures, strict=False):
        written.append(folder / f"{number:05d}{suffix}")
        write_image(written[-1], picture)
    for number in range(len(written), count):
        os.link(written[number % len(written)], folder / f"{number:05d}{suffix}")


def wait(device: torch.device) -> None:
    """Until the device has done all that it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(function: Callable[[], object], device: torch.device, repeats: int, warm_up: int = WARM_UP) -> float:
    """Median seconds of a call, the device's work included, after `warm_up` calls that are not counted."""
    for _ in range(warm_up):
        function()
    wait(device)
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        function()
        wait(device)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int = 10) -> float:
    """FLOP/s of one large square matrix product in a dtype: what a network could reach at most. float32 on CUDA is TF32
    where convolutions are."""
    side = MATRIX_SIDE[device.type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        with torch.inference_mode():
            return 2 * side**3 / timed(lambda: a @ b, device, repeats)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far, where that can be done: on CUDA."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: most that PyTorch held on a CUDA device since reset_peak_memory; on the CPU, of this process ever."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine(device: torch.device) -> dict[str, Any]:
    """What a figure depends on: processor, GPU, cores, threads, memory, versions, date, code."""
    facts: dict[str, Any] = {"device": str(device), "processor": _processor(), "cores": os.cpu_count()}
    facts |= {"threads": torch.get_num_threads()}
    facts |= {"memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "gpu_memory_gb": round(properties.total_memory / 1e9, 1)}
        facts |= {"fp32_convolutions": "TF32" if torch.backends.cudnn.allow_tf32 else "FP32"}
    return facts | {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else "unused",
        "date": time.strftime("%Y-%m-%d"),
        "code": code_version(),
    }


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value)


@dataclass
class Report:
    """A table of figures, and the facts that they depend on. With a file, it holds as JSON every row that is known so
    far: a benchmark that is stopped has not measured in vain."""

    title: str
    facts: dict[str, Any]
    out: Path | None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, *rows: dict[str, Any]) -> None:
        """Add rows, each column's name -> value, print them and write the file."""
        self.rows += rows
        for row in rows:
            print(", ".join(f"{column} {_cell(value)}" for column, value in row.items()), flush=True)
        if self.out is not None:
            content = {"title": self.title, "rows": self.rows, "facts": self.facts}
            write_whole(self.out, json.dumps(content, indent=2).encode())

    def show(self) -> None:
        """Print the table, empty where a row lacks a value, on its side where it would be too wide; then the facts."""
        used = list(dict.fromkeys(name for row in self.rows for name, value in row.items() if value is not None))
        cells = [used] + [[_cell(row.get(column)) for column in used] for row in self.rows]
        text = [not any(isinstance(row.get(column), (int, float)) for row in self.rows) for column in used]
        if sum(max(map(len, column)) + 2 for column in zip(*cells, strict=True)) > WIDEST:  # a line for each column
            cells = [list(line) for line in zip(*cells, strict=True)]
            text = [True] + [False] * len(self.rows)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        print(f"\n{self.title}\n")
        for line in cells:
            padded = (c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, widths, text, strict=True))
            print("  ".join(padded).rstrip())
        plain = {key: value for key, value in self.facts.items() if not isinstance(value, (Mapping, list))}
        print("\n" + ", ".join(f"{key} {_cell(value)}" for key, value in plain.items()))
        if self.out is not None:
            print(f"written   {self.out}")


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
