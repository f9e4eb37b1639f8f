"""Speed of fuse.py with both methods at 640x512: reading, the network, writing, and the whole command."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from data.images import ThermalRange, read_infrared, read_visible, write_image
from data.transforms import as_tensor
from models import METHODS
from models.inference.fuser import Fuser
from options.fuse import NetworkOptions
from scripts.benchmarks.common import (
    BenchmarkOptions,
    Command,
    Report,
    machine,
    peak_memory,
    reset_peak_memory,
    streets,
    timed,
    write_files,
)
from util.command_line import parse, to_dict
from util.device import Device, select_device
from util.files import ROOT, check_file


@dataclass(frozen=True)
class Options(BenchmarkOptions):
    """Time fuse.py: reading, the network and writing at 640x512, and the whole command."""

    precision: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
    """Arithmetic of the networks."""
    images: int | None = None
    """Images of the longer of the two runs of fuse.py, whose difference is timed; 16 on the CPU, 512 on CUDA."""
    repeats: int = 7
    """Timed repetitions of each stage, after two that are not counted."""

    def __post_init__(self) -> None:
        self.check_at_least(repeats=1, images=2)


def write_inputs(folder: Path, count: int) -> None:
    """count pairs of street scenes, 640x512."""
    scenes = streets(count)
    write_files(folder / "visible", (scene.visible for scene in scenes), count, ".png")
    write_files(folder / "infrared", (scene.thermal for scene in scenes), count, ".png")


def network_row(model: str, compute: Device, folder: Path, repeats: int) -> dict[str, float]:
    """Stage times in milliseconds, and peak device memory in MB on CUDA, of one method in one precision."""
    thermal, device = ThermalRange(), compute.device
    visible_path, infrared_path = folder / "visible" / "00000.png", folder / "infrared" / "00000.png"
    visible = as_tensor(read_visible(visible_path))[None]
    infrared = as_tensor(read_infrared(infrared_path, thermal))[None]
    network = METHODS[model].network(METHODS[model].Options()).eval()
    fuser = Fuser(network, compute, NetworkOptions(model=model), "clip")
    picture = np.ascontiguousarray(visible[0].permute(1, 2, 0).numpy())
    reset_peak_memory(device)
    with torch.inference_mode():
        stages = {
            "read_ms": lambda: (read_visible(visible_path), read_infrared(infrared_path, thermal)),
            "network_ms": lambda: fuser(visible, infrared),
            "write_ms": lambda: write_image(folder / "out.png", picture),
        }
        row = {name: 1000 * timed(stage, device, repeats) for name, stage in stages.items()}
    if device.type == "cuda":
        row["peak_memory_mb"] = peak_memory(device) / 1e6
    return row


def command_row(model: str, device: str, precision: str, folder: Path, count: int) -> dict[str, float]:
    """Images a second of fuse.py itself, its start left out, and its peak memory in MB."""
    words = [sys.executable, ROOT / "fuse.py", "--model", model, "--visible", folder / "visible", "--infrared",
             folder / "infrared", "--device", device, "--precision", precision, "--gallery", "0",
             "--results_dir", folder / "results", "--overwrite"]  # fmt: skip
    command = Command(
        "fuse.py", [str(word) for word in words], folder / "command", dict(os.environ), count // 4 or 1, count
    )
    command.run()
    return {"images_per_second": command.rates[0], "process_memory_mb": command.memory}


def main(argv: list[str]) -> int:
    """Time both fusion methods in every precision that argv names; returns the exit status."""
    options = parse(Options, argv)
    check_file("--out", options.out)
    device = select_device(options.device).device
    count = options.images or (512 if device.type == "cuda" else 16)
    facts: dict[str, Any] = machine(device) | {"size": "640x512", "images": count, "options": to_dict(options)}
    report = Report("fuse.py", facts, options.out)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, count)
        for model, precision in itertools.product(("stdfusion_net", "fusion_gan"), options.precision):
            compute = select_device(str(device), precision, channels_last="on")
            row = {"model": model, "precision": precision} | network_row(model, compute, folder, options.repeats)
            report.add(row | command_row(model, str(device), precision, folder, count))
    report.show()
    return 0
