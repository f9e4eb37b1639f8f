"""What all benchmarks share: timing, the machine's own rates, the report.

A benchmark is a module scripts/benchmarks/NAME.py with

    Options                   a frozen dataclass, limits checked in __post_init__; `device: str = "auto"` and
                              `out: Path | None = None` (the JSON file) in all of them
    main(argv: list[str])     its command, the name left out: parses argv with util.command_line.parse, measures, ends
    in
                              print_report, returns the exit status; a user's mistake is a ValueError or OSError

and a line in scripts/benchmark.py. Figures are medians after a warm-up; on CUDA the device's work is waited for."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from util.files import code_version, write_whole

WARM_UP = 2  # calls that are not counted
WIDEST = 150  # characters of a table's line
MATRIX_SIDE = {"cuda": 8192, "cpu": 2048}  # of the product that gives the matrix rate


def wait(device: torch.device) -> None:
    """Until the device has done all that it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times(function: Callable[[], object], device: torch.device, repeats: int, warm_up: int = WARM_UP) -> list[float]:
    """Seconds of each of `repeats` calls, the device's work included, after `warm_up` calls that are not counted."""
    for _ in range(warm_up):
        function()
    wait(device)
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        function()
        wait(device)
        seconds.append(time.perf_counter() - begun)
    return seconds


def timed(function: Callable[[], object], device: torch.device, repeats: int, warm_up: int = WARM_UP) -> float:
    """Median seconds of a call, the device's work included, after `warm_up` calls that are not counted."""
    return statistics.median(times(function, device, repeats, warm_up))


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


def print_report(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    out: Path | None,
) -> None:
    """A table of rows, empty where a row lacks a value and on its side where it would be too wide; the facts below it;
    all as JSON where out is given.

    facts: machine(device), and what else the figures depend on, e.g. {"options":
    util.command_line.to_dict(options)}."""
    used = [column for column in columns if any(row.get(column) is not None for row in rows)]
    cells = [used] + [[_cell(row.get(column)) for column in used] for row in rows]
    text = [not any(isinstance(row.get(column), (int, float)) for row in rows) for column in used]
    if sum(max(map(len, column)) + 2 for column in zip(*cells, strict=True)) > WIDEST:  # a line for each column, then
        cells = [list(line) for line in zip(*cells, strict=True)]
        text = [True] + [False] * len(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}\n")
    for line in cells:
        padded = (c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, widths, text, strict=True))
        print("  ".join(padded).rstrip())
    plain = {key: value for key, value in facts.items() if not isinstance(value, (Mapping, list))}
    print("\n" + ", ".join(f"{key} {_cell(value)}" for key, value in plain.items()))
    if out is not None:
        content = {"title": title, "columns": list(columns), "rows": [dict(row) for row in rows], "facts": dict(facts)}
        write_whole(out, json.dumps(content, indent=2).encode())
        print(f"written   {out}")
