"""Writes a trained network as ONNX, TorchScript or compiled ahead of time, and checks the file against PyTorch.

python -m scripts.export --name RUN --format onnx|torchscript|aoti [--out FILE] [--time]"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from data.transforms import Preprocess
from models import METHODS
from models.inference.exportable import (
    Exportable,
    Runner,
    differences,
    exportable,
    to_aoti,
    to_onnx,
    to_torchscript,
)
from models.inference.trained import find_weights, load_network
from options.shared import DeviceOptions, WeightsOptions, check_size
from scripts.benchmarks.common import timed
from util.command_line import parse, run_command
from util.device import select_device
from util.files import beside, check_file, code_version
from util.text import plural
from util.training.state import CHECKSUM, load_weights, save_weights

TOLERANCE = 1e-3  # largest difference from PyTorch, of outputs in [-1, 1]
SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "aoti": ".pt2", "safetensors": ".safetensors"}
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportOptions(DeviceOptions, WeightsOptions):
    """Write a trained network to a file that runs without this code, for images of any height and width, and check
    it against PyTorch. Generators: visible -> infrared. Fusion networks: visible and infrared -> fused luminance."""

    weights: Path | None = None
    """Weights file instead of a run, e.g. models/weights/stdfusion_net.safetensors, or one that
    scripts.import_weights wrote."""
    norm_statistics: Literal["image", "trained"] | None = None
    """Of a generator: as test.py --norm_statistics."""
    format: Literal["onnx", "torchscript", "aoti", "safetensors"] = "onnx"
    """onnx: for ONNX Runtime and others (python -m pip install onnx onnxscript onnxruntime). torchscript: for
    PyTorch in Python and C++. aoti: compiled ahead of time for this machine, for PyTorch; takes minutes.
    safetensors: the weights alone in half precision, half the size, for test.py --weights and the like."""
    out: Path | None = None
    """File to write; by default NAME.onnx, .pt, .pt2 or NAME_half.safetensors in the current folder."""
    time: bool = False
    """Then time single images: PyTorch eager and compiled, and the written file."""
    size: tuple[int, int] = (512, 640)
    """Height and width of the timed image."""
    device: str = "cpu"
    """Where it is timed, and what aoti compiles for: cpu, cuda, cuda:N, or auto."""
    repeats: int = 10
    """Timed repetitions, after two that are not counted."""

    def __post_init__(self) -> None:
        if (self.name is None) == (self.weights is None):
            raise ValueError("--name RUN, --weights FILE: give one of them")
        super().__post_init__()
        suffix = SUFFIXES[self.format]
        if self.out is not None and self.out.suffix != suffix:
            raise ValueError(f"--out {self.out}: a file of --format {self.format} ends in {suffix}")
        if self.out is not None and self.out.name == "last.pt":
            raise ValueError(f"--out {self.out}: is what a run's own checkpoint is called; give another name")
        check_size("size", self.size)
        self.check_at_least(repeats=1)

    def file(self) -> Path:
        """Where the network goes."""
        half = "_half" if self.format == "safetensors" else ""  # never the name of the weights themselves
        return self.out or Path(f"{self.name or self.weights.stem}{half}{SUFFIXES[self.format]}")


def write_halves(source: Path, path: Path) -> None:
    """The weights of a file in half precision, with all that it says of itself. ValueError where one is too large."""
    metadata, tensors = load_weights(source)
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if not all(torch.isfinite(tensor).all() for tensor in halves.values()):
        raise ValueError(f"{source}: holds numbers beyond half precision's 65,504; use the file as it is")
    save_weights(path, halves, metadata)


def open_network(options: ExportOptions) -> tuple[Exportable, dict[str, str]]:
    """What to export, and what its file will say of it."""
    path, trained = find_weights(options, kind=None)
    model = trained.run.model if trained else load_weights(path)[0].get("model", "")
    if model not in METHODS:
        raise ValueError(
            f"{path}: names no method of this project; give weights that it or scripts.import_weights wrote"
        )
    kind = METHODS[model].score_kind
    network, _, about = load_network(path, kind, trained, options.norm_statistics)
    what = exportable(network, kind, about.get("infrared_range", "asis"))
    facts: dict[str, str] = {
        key: str(about[key]) for key in ("model", "run", "epoch", "source", "range", "norm_statistics") if key in about
    }
    inputs = ", ".join(f"{name} [N, {channels}, H, W]" for name, channels in what.inputs.items())
    facts |= {
        "run": about.get("run", options.name or ""),
        "weights": str(path),
        "inputs": inputs + (f", contiguous, H and W from {what.least} on" if options.format == "aoti" else ""),
        "channel_order": "RGB",
        "input_range": "[-1, 1]: 8-bit levels / 127.5 - 1",
        "output": f"{what.output} [N, 1, H, W] in [-1, 1]: (x + 1) * 127.5 are 8-bit levels",
        "code": code_version(),
    }
    seen = Preprocess.of_generator(trained, about) if kind == "generation" else None
    if seen is not None:
        facts["trained_at"] = f"{seen.mode}, load_size {seen.load_size}, crop_size {seen.crop_size}"
    return what, facts


def time_all(what: Exportable, run: Runner, options: ExportOptions, device: torch.device) -> None:
    """Prints the latency of a single image: PyTorch eager, compiled, and the written file."""
    file_device = torch.device("cpu") if options.format == "onnx" else device
    inputs = tuple(image.to(device) for image in what.samples(1, *options.size))
    reference = what.reference.to(device)
    rows = [("eager", timed(lambda: reference(*inputs), device, options.repeats))]
    if device.type == "cuda" or shutil.which(os.environ.get("CXX", "g++")):
        compiled = torch.compile(reference, dynamic=False)
        rows.append(("torch.compile", timed(lambda: compiled(*inputs), device, options.repeats)))
    else:
        print("note      torch.compile is not timed: it needs a C++ compiler (on Debian: apt install g++)")
    moved = tuple(image.to(file_device) for image in inputs)
    rows.append((f"{options.format} file, {file_device}", timed(lambda: run(*moved), file_device, options.repeats)))
    threads = plural(torch.get_num_threads(), "thread")
    print(f"\none image {options.size[1]}x{options.size[0]}, fp32, {device}, {threads}, ms")
    for name, seconds in rows:
        print(f"{name:20}{1e3 * seconds:9.1f}")


def write_checked(what: Exportable, facts: dict[str, str], options: ExportOptions, device: torch.device) -> Runner:
    """Writes the file, of which PyTorch's outputs came too; returns what runs it. ValueError where it differs."""
    path, least = options.file(), 1
    with beside(path, path.suffix) as part, torch.inference_mode(options.format != "aoti"), torch.no_grad():
        if options.format == "onnx":
            with contextlib.redirect_stdout(sys.stderr):
                run, place = to_onnx(what, facts, part), torch.device("cpu")
        elif options.format == "torchscript":
            run, place = to_torchscript(what, facts, part).to(device), device
        else:
            run, place, least = to_aoti(what, facts, part, device), device, what.least
        for size, difference in differences(what, run, place, least):
            print(f"checked   {size} (height x width): largest difference {difference:.1e}")
            if not difference <= TOLERANCE:
                raise ValueError(
                    f"{path}: differs by {difference:.1e} from PyTorch, more than {TOLERANCE:g}: not written"
                )
    return run


def main() -> int:
    """Export the network that the command line names, and compare it; returns the exit status."""
    options = parse(ExportOptions)
    path = options.file()
    check_file("--out", path, CHECKSUM if options.format == "safetensors" else "channel_order")  # of its metadata
    if options.format == "safetensors":
        if options.time or options.norm_statistics:
            given = "--time" if options.time else "--norm_statistics"
            raise ValueError(f"{given}: --format safetensors writes the weights as they are; leave it out")
        weights, _ = find_weights(options, kind=None)
        if path.exists() and path.samefile(weights):
            raise ValueError(f"--out {path}: holds the weights themselves; give another name")
        write_halves(weights, path)
        print(f"weights   {weights}\nwritten   {path} ({path.stat().st_size / 1e6:.1f} MB)")
        return 0
    device = select_device(options.device, "fp32").device
    # Its 10 bits of mantissa alone differ by more than a file may; it would be fp32 in name only.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if options.format == "onnx" and missing:
        raise ValueError(f"--format onnx needs {' and '.join(missing)}: python -m pip install {' '.join(PACKAGES)}")
    what, facts = open_network(options)
    print(f"weights   {facts['weights']}", flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters, about their own future
        run = write_checked(what, facts, options, device)
        if options.time:
            with torch.inference_mode(options.format != "aoti"), torch.no_grad():
                time_all(what, run, options, device)
    print(f"written   {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    run_command(main)
