"""Options of scripts.export: which network, in which format, to where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from util.command_line import check_epoch

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "aoti": ".pt2", "safetensors": ".safetensors"}


@dataclass(frozen=True)
class ExportOptions:
    """Write a trained network to a file that runs without this code, for images of any height and width, and check
    it against PyTorch. Generators: visible -> infrared. Fusion networks: visible and infrared -> fused luminance."""

    name: str | None = None
    """Name of the run whose network is written."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    epoch: str = "auto"
    """Weights: best, last or the number of an epoch that was kept; auto is best where validation chose one,
    else last."""
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
        check_epoch(self.epoch)
        suffix = SUFFIXES[self.format]
        if self.out is not None and self.out.suffix != suffix:
            raise ValueError(f"--out {self.out}: a file of --format {self.format} ends in {suffix}")
        if self.out is not None and self.out.name == "last.pt":
            raise ValueError(f"--out {self.out}: is what a run's own checkpoint is called; give another name")
        if not all(side >= 16 for side in self.size):
            raise ValueError(f"--size {self.size[0]} {self.size[1]}: give a height and a width of at least 16")
        if not self.repeats >= 1:
            raise ValueError(f"--repeats is {self.repeats}: give at least 1")

    def file(self) -> Path:
        """Where the network goes."""
        half = "_half" if self.format == "safetensors" else ""  # never the name of the weights themselves
        return self.out or Path(f"{self.name or self.weights.stem}{half}{SUFFIXES[self.format]}")
