"""Options of scripts.augment: which run turns which labelled visible images into infrared ones, to where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from options.data import SAMPLE_ROOT, DataOptions
from options.shared import GeneratorOptions, PrecisionOptions, ReadingOptions, check_size


@dataclass(frozen=True, kw_only=True)
class AugmentOptions(ReadingOptions, PrecisionOptions, GeneratorOptions):
    """Write an infrared data set with labels from the labelled visible images of one in the layout of FLIR ADAS v2:
    the generated images with the boxes, categories and ids of the visible coco.json."""

    out: Path
    """Folder to write: empty, not there yet, or one that this command has half done: it goes on where it stopped,
    if weights, data set and options are the same."""
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
    """train: the network sees images at the size it was trained at. input: it draws them at their own, as test.py."""
    visible_bits: int | None = None
    """Bits of a visible camera of more than 8, whose largest value is shown white; None: as many as the brightest
    visible image of the data set needs."""
    batch_size: int = 8
    """Images in a batch, at most."""
    overwrite: bool = False
    """Make every image anew, whatever an earlier call of this command wrote to --out, and by what."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and self.weights is not None:
            raise ValueError("--name RUN, --weights FILE: give one of them, or neither for the project's own generator")
        if self.size is not None:
            check_size("size", self.size)
        self.check_at_least(batch_size=1)
        DataOptions(visible_bits=self.visible_bits)  # checks it

    @property
    def camera(self) -> str:
        """Whose view visible images are cut to."""
        return "flir_v2" if self.camera_crop else "none"
