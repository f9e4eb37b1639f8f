"""Groups of options that several commands have, each declared once; a command's own dataclass inherits them.

A class with options of its own to check calls super().__post_init__() as well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Literal

Precision = Literal["auto", "bf16", "fp16", "fp32"]
Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class Options:
    """Base of all groups, whose limits are checked when they are made."""

    def __post_init__(self) -> None:
        """Raise a ValueError with option, value and remedy where a limit is not kept."""

    def check_at_least(self, **lows: float) -> None:
        """Raise a ValueError where an option (name -> lowest value) is below its limit; None, where allowed, is not."""
        optional = {field.name for field in fields(self) if field.default in (None, MISSING)}
        for name, low in lows.items():
            value = getattr(self, name)
            if value is not None and not low <= value < float("inf"):
                remedy = ", or leave it out" if name in optional else ""
                raise ValueError(f"--{name} is {value}: give at least {low}{remedy}")

    def check_positive(self, *names: str) -> None:
        """Raise a ValueError where an option is 0 or less; None, where allowed, is not."""
        for name in names:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"--{name} is {value}: give a number above 0")


def check_size(option: str, size: Sequence[int]) -> None:
    """Raise a ValueError unless height and width, in pixels, are what the networks can see."""
    if not all(side >= 16 for side in size):
        raise ValueError(f"--{option} {' '.join(map(str, size))}: give a height and a width of at least 16")


@dataclass(frozen=True)
class DeviceOptions(Options):
    """Where a command computes."""

    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda or cuda:N."""


@dataclass(frozen=True)
class PrecisionOptions(DeviceOptions):
    """Where a command computes, and how exactly."""

    precision: Precision = "auto"
    """Arithmetic of the networks; auto is bf16 where the device computes it natively, else fp32."""


def check_run_name(name: str) -> None:
    """ValueError for what cannot be the name of a run, which is that of its folder and its results'."""
    if not name or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise ValueError(f"--name {name!r}: give a plain folder name, without slashes")


@dataclass(frozen=True)
class WeightsOptions(Options):
    """Whose weights are used: those of a run, or a file."""

    name: str | None = None
    """Name of the run whose weights are used; its networks are read from its options.json."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    epoch: str = "auto"
    """Weights of the run: best, last or the number of an epoch that was kept; auto is best where validation chose one,
    else last."""
    weights: Path | None = None
    """Weights file, .safetensors, instead of a run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name == "":
            raise ValueError('--name "": give the name of a run, or leave the option out')
        if self.epoch not in ("auto", "best", "last") and not re.fullmatch("[0-9]{1,9}", self.epoch):
            raise ValueError(f"--epoch {self.epoch}: give best, last, auto or the number of an epoch")
        if self.epoch != "auto" and (self.name is None or self.weights is not None):
            raise ValueError(f"--epoch {self.epoch} belongs to a run: add --name, without --weights, or leave it out")


@dataclass(frozen=True)
class GeneratorOptions(WeightsOptions):
    """Whose generator is used: that of a run, of a file, or the one that comes with the project."""

    name: str | None = None
    """Name of the run; its networks and preprocessing are read from its options.json. Without it, and without
    --weights, the generator that comes with the project is used."""
    weights: Path | None = None
    """Weights file of a generator instead of a run. Images are seen at the size that the file says it was trained at;
    where it says none, as one of scripts.import_weights, at their own."""
    norm_statistics: Literal["image", "trained"] | None = None
    """Statistics of batch norms. image: of each image itself, as pytorch-CycleGAN-and-pix2pix's test.py does by default
    (whose dropout is left out here). trained: those kept in training. By default as the weights say: image for those
    that scripts.import_weights wrote, else trained."""


@dataclass(frozen=True)
class ReadingOptions(Options):
    """How images are read."""

    num_threads: int = 4
    """Worker processes that read images, at most one a processor; 0 reads in the main process."""
    strict: bool = False
    """A file that is missing or cannot be read ends the command; without it it is skipped, reported and counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_at_least(num_threads=0)


@dataclass(frozen=True)
class ResultsOptions(Options):
    """Where results go, and what is written."""

    results_dir: Path = Path("results")
    """Results go to results_dir/NAME of the run; where none is named, to results_dir/ and what names the network."""
    gallery: int = 1000
    """Images shown in index.html, evenly spread; 0 writes no gallery."""
    overwrite: bool = False
    """Make every image anew. Otherwise those that the same weights and options have made already are kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_at_least(gallery=0)


@dataclass(frozen=True)
class LearnedMetricOptions(Options):
    """The networks of learned metrics."""

    inception_weights: Path | None = None
    """FID and KID: file of the Inception network, weights-inception-2015-12-05-6726825d.pth of torch-fidelity; by
    default it is downloaded."""
    lpips_weights: Path | None = None
    """LPIPS: file of torchvision's AlexNet, alexnet-owt-7be5be79.pth; by default it is downloaded."""
