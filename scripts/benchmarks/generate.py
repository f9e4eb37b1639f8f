"""Speed of test.py: the network alone, each stage, and the whole command."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from data.images import list_images, read_visible, write_image
from data.output.writing import at_own_size
from data.transforms import as_tensor
from models.cycle_gan import Generators
from models.inference.trained import load_network
from models.inference.translator import Translator
from options.cycle_gan import CycleGANOptions
from options.shared import PrecisionOptions, check_size
from options.translation import Generator
from scripts.benchmarks.common import (
    BenchmarkOptions,
    Command,
    Report,
    machine,
    matrix_rate,
    peak_memory,
    reset_peak_memory,
    streets,
    timed,
    write_files,
)
from util.command_line import parse, to_dict
from util.device import select_device
from util.files import ROOT, check_file
from util.images import resize
from util.training.state import save_weights

OWN = 32  # images of --dataroot that are read, at most; the folder holds them again and again


@dataclass(frozen=True)
class Options(BenchmarkOptions, PrecisionOptions):
    """Time test.py on a folder of images: the network by batch size, each stage, the whole command. A network of
    random weights does: speed does not depend on them."""

    compile: Literal["off", "default", "reduce-overhead", "max-autotune"] = "off"
    """Compile the network, in a mode of torch.compile."""
    netG: Generator = "resnet_9blocks"
    """Generator."""
    ngf: int = 64
    """Its first channels."""
    dataroot: Path | None = None
    """Folder of images to read instead of rendered scenes."""
    size: tuple[int, int] = (512, 640)
    """Height and width that images are brought to."""
    batch_sizes: tuple[int, ...] = ()
    """Batches of the network alone; by default 1, 2, 4 on the CPU and 1, 4, 8, 16, 32 on CUDA."""
    images: int | None = None
    """Images of the longer of the two runs of test.py, whose difference is timed; 8 on the CPU, 2048 on CUDA."""
    runs: int = 1
    """How often the whole command is run; the median counts."""
    repeats: int = 7
    """Timed repetitions of each stage, after two that are not counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_at_least(repeats=1, runs=1, ngf=1, images=2)
        check_size("size", self.size)
        if not all(batch >= 1 for batch in self.batch_sizes):
            raise ValueError(f"--batch_sizes are {self.batch_sizes}: give sizes of at least 1")


def write_folder(folder: Path, options: Options, count: int) -> None:
    """count images of the wanted size, PNG: of --dataroot, or rendered; a few, again and again."""
    if options.dataroot is None:
        pictures = (scene.visible for scene in streets(count))
    else:
        pictures = (read_visible(source) for source in list_images(options.dataroot)[:OWN])
    sized = (resize(as_tensor(picture), options.size).permute(1, 2, 0).contiguous().numpy() for picture in pictures)
    write_files(folder, sized, count, ".png")


def flops(options: Options, height: int, width: int) -> int:
    """Of one image through the generator: two for each multiplication with its addition."""
    method = CycleGANOptions(netG=options.netG, ngf=options.ngf, upsample="transpose")
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        Generators(method).to_infrared(torch.empty(1, 3, height, width))
    return counter.get_total_flops()


def save_random(path: Path, options: Options) -> None:
    """A weights file of a generator that nobody trained."""
    method = CycleGANOptions(netG=options.netG, ngf=options.ngf, upsample="transpose")
    facts = {"model": "cycle_gan", "options": json.dumps(to_dict(method)), "direction": "to_infrared"}
    tensors = {f"to_infrared.{k}": v for k, v in Generators(method).to_infrared.state_dict().items()}
    save_weights(path, tensors, facts | {"in_channels": "3", "out_channels": "1"})


def network_row(translator: Translator, options: Options, batch: int, rate: float) -> dict[str, Any]:
    """Time the network alone, a batch of its input already on the device. rate: FLOP/s of a matrix product."""
    device = translator.device.device
    visible = torch.randint(0, 256, (batch, 3, *options.size), dtype=torch.uint8).to(device)
    reset_peak_memory(device)
    seconds = timed(lambda: translator(visible), device, options.repeats) / batch
    speed = flops(options, *options.size) / seconds
    return {"what": "network", "batch": batch, "images_per_second": 1 / seconds, "ms_per_image": 1e3 * seconds,
            "tflops": speed / 1e12, "matrix_share": speed / rate, "memory_mb": peak_memory(device) / 1e6}  # fmt: skip


def stage_rows(translator: Translator, folder: Path, options: Options, batch: int) -> list[dict[str, Any]]:
    """Each stage of test.py by itself, in one worker or thread; in the command they overlap."""
    device, path = translator.device.device, sorted(folder.iterdir())[0]
    visible = torch.stack([as_tensor(read_visible(path))] * batch)
    visible = visible.pin_memory() if device.type == "cuda" else visible
    made = translator(visible)
    grey = np.ascontiguousarray(at_own_size(made, [options.size])[0][0].cpu().numpy())
    stages = {
        "read, one worker": (1, lambda: as_tensor(read_visible(path))),
        "to the device": (batch, lambda: translator.device.images(visible)),
        "to 8 bits and back": (batch, lambda: [i.cpu() for i in at_own_size(made, [options.size] * batch)]),
        "write, one thread": (1, lambda: write_image(folder.parent / "out.png", grey)),
    }
    return [
        {"what": name, "batch": count, "ms_per_image": 1e3 * timed(stage, device, options.repeats) / count}
        for name, (count, stage) in stages.items()
    ]


def whole_command(weights: Path, images: Path, options: Options, device: torch.device, count: int) -> Command:
    """test.py as a user runs it."""
    folder = images.parent / "command"
    words = [sys.executable, str(ROOT / "test.py"), "--weights", str(weights), "--name", "b", "--dataroot", str(images),
             "--device", str(device), "--precision", options.precision, "--compile", options.compile, "--overwrite",
             "--gallery", "0"]  # fmt: skip
    return Command("test.py", words, folder, dict(os.environ), max(1, count // 4), count)


def main(argv: list[str]) -> int:
    """Time the network, test.py as a whole and its stages; returns the exit status."""
    options = parse(Options, argv)
    check_file("--out", options.out)
    compute = select_device(options.device, options.precision)
    device, on_cuda = compute.device, compute.device.type == "cuda"
    count = options.images or (2048 if on_cuda else 8)
    rate = matrix_rate(device, compute.dtype)
    facts = machine(device) | {"size": f"{options.size[1]}x{options.size[0]}", "precision": str(compute.dtype)}
    facts |= {"matrix_tflops": rate / 1e12, "images": count, "options": to_dict(options)}
    report = Report(f"test.py, {options.netG}, {facts['size']}", facts, options.out)
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        (folder / "images").mkdir()
        write_folder(folder / "images", options, count)
        weights = folder / "generator.safetensors"
        save_random(weights, options)
        compute.expect_one_size()
        translator = Translator(load_network(weights, "generation")[0], compute, compiled=options.compile)
        for batch in options.batch_sizes or ((1, 4, 8, 16, 32) if on_cuda else (1, 2, 4)):
            report.add(network_row(translator, options, batch, rate))
        whole = whole_command(weights, folder / "images", options, device, count)
        for _ in range(options.runs):
            whole.run()
        report.add(whole.row())
        report.add(*stage_rows(translator, folder / "images", options, 8 if on_cuda else 1))
    report.show()
    return 0
