"""Options of scripts.augment: which run turns which labelled visible images into infrared ones, to where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from options.data import SAMPLE_ROOT
from util.command_line import check_epoch


@dataclass(frozen=True)
class AugmentOptions:
    """Write an infrared data set with labels from the labelled visible images of one in the layout of FLIR ADAS v2:
    the generated images with the boxes, categories and ids of the visible coco.json."""

    out: Path
    """Folder to write: empty, not there yet, or one that this command has half done: it goes on where it stopped,
    if weights, data set and options are the same."""
    name: str | None = None
    """Name of the run whose generator is used; its preprocessing is read from its options.json. Without it, and
    without --weights, the generator that comes with the project is used."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    epoch: str = "auto"
    """Weights: best, last or the number of an epoch that was kept; auto is best where validation chose one,
    else last."""
    weights: Path | None = None
    """Weights file of a generator, instead of those of a run."""
    norm_statistics: Literal["image", "trained"] | None = None
    """As test.py --norm_statistics."""
    dataroot: Path = SAMPLE_ROOT
    """Root folder of the data set: it holds images_rgb_train, images_rgb_val, each with its coco.json."""
    split: Literal["train", "val", "all"] = "all"
    """Which of the visible folders are turned into infrared ones; all: both, or the one that there is."""
    camera_crop: bool = True
    """Cut the wider visible view to the thermal camera's view; boxes are moved and cut alike."""
    size: tuple[int, int] | None = (512, 640)
    """Height and width of the written images, by default those of FLIR's thermal camera; None: those of the
    (cut) visible image."""
    scale: Literal["train", "input"] = "train"
    """train: the network sees images at the size it was trained at. input: at their own size."""
    batch_size: int = 8
    """Images in a batch, at most."""
    num_threads: int = 4
    """Worker processes that read images, at most one a processor; 0 reads in the main process."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda or cuda:N."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the network; auto is bf16 where the device computes it natively, else fp32."""
    strict: bool = False
    """A file that is missing or cannot be read ends the command; without it it is skipped, reported and counted."""
    overwrite: bool = False
    """Make every image anew, whatever an earlier call of this command wrote to --out, and by what."""

    def __post_init__(self) -> None:
        if self.name is not None and self.weights is not None:
            raise ValueError("--name RUN, --weights FILE: give one of them, or neither for the project's own generator")
        check_epoch(self.epoch)
        if self.size is not None and not all(side >= 16 for side in self.size):
            raise ValueError(f"--size {self.size[0]} {self.size[1]}: give a height and a width of at least 16")
        for option, low in (("batch_size", 1), ("num_threads", 0)):
            if not getattr(self, option) >= low:
                raise ValueError(f"--{option} is {getattr(self, option)}: give at least {low}")
