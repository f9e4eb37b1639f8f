"""Speed of the project's commands on this machine: python -m scripts.benchmark fuse.

Medians, as a table and, with --out, as JSON with the machine, the versions and the options."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

from data.images import ThermalRange, read_infrared, read_visible, write_image
from data.sample import render
from data.transforms import as_tensor
from models import METHODS
from models.fuser import Fuser
from options.cli import parse, run_command
from options.fuse import NetworkOptions
from util.compute import Compute, choose
from util.run_folder import ROOT, code_version, write_whole

SCENES, FEW, MANY = 4, 4, 16  # scenes rendered; images of the two whole-command runs, whose difference counts


@dataclass(frozen=True)
class BenchmarkOptions:
    """Time reading, the network and writing at 640x512, and the whole command."""

    what: tyro.conf.Positional[Literal["fuse"]]
    """fuse: fuse.py with both methods."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda or cuda:N."""
    repeats: int = 7
    """Timed repetitions of each stage, after one that is not counted."""
    out: Path | None = None
    """JSON file to write."""

    def __post_init__(self) -> None:
        if not self.repeats >= 1:
            raise ValueError(f"--repeats is {self.repeats}: give at least 1")


def median_ms(action: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median milliseconds of an action, the device's work included."""
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times[1:])


def write_inputs(folder: Path, count: int) -> None:
    """count pairs of street scenes, 640x512; a few scenes, again and again."""
    scenes = [render(910_000 + i) for i in range(SCENES)]
    for i in range(count):
        write_image(folder / "visible" / f"{i:03d}.png", scenes[i % SCENES].visible)
        write_image(folder / "infrared" / f"{i:03d}.png", scenes[i % SCENES].thermal)


def network_row(model: str, compute: Compute, folder: Path, repeats: int) -> dict[str, float]:
    """Stage times in milliseconds, and peak device memory in MB on CUDA, of one method in one precision."""
    thermal = ThermalRange()
    visible_path, infrared_path = folder / "visible" / "000.png", folder / "infrared" / "000.png"
    visible = as_tensor(read_visible(visible_path))[None]
    infrared = as_tensor(read_infrared(infrared_path, thermal))[None]
    network = METHODS[model].network(METHODS[model].Options()).eval()
    fuser = Fuser(network, compute, NetworkOptions(model=model), "clip")
    picture = np.ascontiguousarray(visible[0].permute(1, 2, 0).numpy())
    if compute.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(compute.device)
    with torch.inference_mode():
        row = {
            "read_ms": median_ms(
                lambda: (read_visible(visible_path), read_infrared(infrared_path, thermal)), repeats, compute.device
            ),
            "network_ms": median_ms(lambda: fuser(visible, infrared), repeats, compute.device),
            "write_ms": median_ms(lambda: write_image(folder / "out.png", picture), repeats, compute.device),
        }
    if compute.device.type == "cuda":
        row["peak_memory_mb"] = torch.cuda.max_memory_allocated(compute.device) / 1e6
    return row


def command_row(model: str, device: str, precision: str, folder: Path) -> dict[str, float]:
    """Images a second of fuse.py itself, its start left out, and its peak memory in MB."""
    seconds, memory = [], 0.0
    for count in (FEW, MANY):
        words = ["fuse.py", "--model", model, "--visible", folder / "visible", "--infrared", folder / "infrared",
                 "--device", device, "--precision", precision, "--gallery", "0", "--num_test", count,
                 "--results_dir", folder / "results"]  # fmt: skip
        begun = time.perf_counter()
        process = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - begun)
        if status:
            raise ValueError(f"fuse.py --model {model} failed; run it by hand to see why")
        memory = max(memory, usage.ru_maxrss / 1e3)
    return {"images_per_second": (MANY - FEW) / max(1e-9, seconds[1] - seconds[0]), "process_memory_mb": memory}


def machine(device: torch.device) -> dict[str, str]:
    """What a figure depends on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    return {
        "processor": f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors",
        "gpu": gpu,
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "code": code_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> int:
    """The command."""
    options = parse(BenchmarkOptions)
    device = choose(options.device).device
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, MANY)
        for model in ("stdfusion_net", "fusion_gan"):
            for precision in ("fp32", "bf16"):
                compute = choose(str(device), precision, channels_last="on")
                row = {"model": model, "precision": precision}
                row |= network_row(model, compute, folder, options.repeats)
                rows.append(row | command_row(model, str(device), precision, folder))
    columns = list(rows[0])
    print("".join(f"{column:>19}" for column in columns))
    for row in rows:
        print("".join(f"{value:>19.1f}" if isinstance(value, float) else f"{value:>19}" for value in row.values()))
    content = {"machine": machine(device), "size": "640x512", "repeats": options.repeats, "rows": rows}
    print(", ".join(f"{key} {value}" for key, value in content["machine"].items()))
    if options.out is not None:
        write_whole(options.out, json.dumps(content, indent=2).encode())
    return 0


if __name__ == "__main__":
    run_command(main)
