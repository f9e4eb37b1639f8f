"""Options of scripts.evaluate_detection: what a detector is trained on, for how long, and where it is tested."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from options.data import SAMPLE_ROOT
from options.shared import DeviceOptions

ARMS = ("real", "generated", "luminance", "inverted", "mixed")
PAGE = "detection"
"""Folder of the page, beside the results of test.py."""


@dataclass(frozen=True)
class DetectionOptions(DeviceOptions):
    """Train one detector on real infrared images, on generated ones, on plain grey and inverted grey visible ones, and
    on real and generated ones together; test each on real infrared images: COCO average precision."""

    dataroot: Path = SAMPLE_ROOT
    """Root folder of the data set, in the layout of FLIR ADAS v2: images_rgb_train and images_thermal_train are
    trained on, video_thermal_test or images_thermal_val is tested on, each by its coco.json."""
    generated: tuple[Path, ...] = ()
    """Folders that scripts.augment wrote from the data set; each is compared."""
    name: str | None = None
    """Name of a run, instead of --generated: its generator makes them first, in --results_dir/NAME/detection. Without
    either, the generator that comes with the project does, in --results_dir/to_infrared/detection."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    epoch: str = "auto"
    """With --name: weights of the run; best, last, the number of an epoch, or auto (best, else last)."""
    scale: Literal["train", "input"] = "train"
    """Without --generated: the generator sees images at the size it was trained at (train), or draws them at
    their own (input), which leaves small objects sharp where it was trained at a small size."""
    results_dir: Path = Path("results")
    """The page, and what a generator makes, go to results_dir/NAME/detection (to_infrared where no run is named), or,
    with --generated or where no images are generated, to results_dir/detection."""
    out: Path | None = None
    """File for every figure as JSON, beside the page's own scores.json."""
    arms: tuple[Literal["real", "generated", "luminance", "inverted", "mixed"], ...] = ARMS
    """Training sets. mixed: real and generated together, in the same number of steps."""
    test: Literal["auto", "video", "val"] = "auto"
    """Test images. video: video_thermal_test. val: images_thermal_val. auto: the first of these that there is."""
    classes: tuple[str, ...] = ()
    """Names of the categories; by default those in the labels of the training and of the test images, with at least
    --min_boxes test boxes."""
    min_boxes: int = 20
    """Fewest test boxes of a class: the precision of fewer says little."""
    min_side: float = 8.0
    """Boxes with a side below that many pixels, of the thermal camera's 640 x 512, are neither to be found nor
    background, as are heavily occluded ones and crowds; 0 keeps small ones in."""
    detector: Literal["centre", "fasterrcnn_mobilenet"] = "centre"
    """centre: a small network for one channel, made for a CPU. fasterrcnn_mobilenet: torchvision's, for a GPU. Both
    start from random weights."""
    size: tuple[int, int] = (256, 320)
    """Height and width at which the detector sees images, multiples of 32."""
    steps: int = 600
    """Training steps of each detector."""
    batch_size: int = 4
    """Images in a step."""
    lr: float = 3e-3
    """Highest learning rate; it rises over the first 15 per cent of the steps and then falls to 0."""
    seeds: int = 1
    """Trainings of each detector, with other initialisations and draws: mean and standard deviation."""
    seed: int = 0
    """The first seed. One seed gives every training set the same initialisation and the same draws."""
    max_images: int | None = None
    """At most that many training images of each kind and as many test images, spread evenly; all by default. What a
    generator makes first is the whole training set."""
    examples: int = 6
    """Test images shown on the page, with what each detector found."""
    camera_crop: bool = True
    """Cut the wider visible view of FLIR ADAS v2 to the thermal camera's view."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the detectors; auto is bf16 where the device computes it natively, else fp32."""
    strict: bool = False
    """A corrupt file ends the command; without it the file is skipped and reported."""

    def __post_init__(self) -> None:
        if self.generated and self.name is not None:
            raise ValueError("--generated DIR ..., --name RUN: give one of them")
        if self.generated and not self.learns_from_generated:
            raise ValueError(f"--generated: no detector of --arms {' '.join(self.arms)} learns from it; leave one out")
        if len({folder.resolve() for folder in self.generated}) < len(self.generated):
            raise ValueError("--generated: one folder is given twice; give each once")
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise ValueError(f"--arms {' '.join(self.arms)}: give some of {', '.join(ARMS)}, each once")
        if not all(side >= 64 and side % 32 == 0 for side in self.size):
            raise ValueError(f"--size {self.size[0]} {self.size[1]}: give multiples of 32, at least 64")
        self.check_at_least(steps=1, batch_size=1, seeds=1, seed=0, min_boxes=1, examples=0, min_side=0, max_images=1)
        self.check_positive("lr")

    @property
    def learns_from_generated(self) -> bool:
        """Whether a detector learns from generated images."""
        return bool({"generated", "mixed"} & set(self.arms))

    @property
    def generates(self) -> bool:
        """Whether a generator makes images first: the named run's, or the one that comes with the project."""
        return self.learns_from_generated and not self.generated

    def folder(self) -> Path:
        """Where the page goes."""
        name = self.name or ("to_infrared" if self.generates else "")
        return self.results_dir / name / PAGE
