"""Options of scripts.evaluate fusion and generation: which images are scored, how, to where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from options.data import DataSetsOptions, class_numbers
from options.shared import DeviceOptions, LearnedMetricOptions, Split


def methods_of(option: str, given: tuple[str, ...]) -> dict[str, Path]:
    """DIR, or NAME=DIR of each of several methods -> name -> folder. ValueError for a name given twice or none."""
    if not given:
        raise ValueError(f"--{option} is missing: give a folder of images, or several as NAME=DIR NAME=DIR")
    found: dict[str, Path] = {}
    for word in given:
        name, equals, path = word.partition("=")
        if not equals or Path(word).is_dir():
            path = word
            if len(given) > 1:
                raise ValueError(f"--{option} {word}: several folders need names, as a={word}")
            name = option
        if not name or not path:
            raise ValueError(f"--{option} {word}: give NAME=DIR")
        if name in found:
            raise ValueError(f"--{option} {word}: the name {name} is given twice")
        found[name] = Path(path)
    return found


def words_of(given: tuple[str, ...]) -> tuple[str, ...]:
    """Words that are parted by blanks or commas."""
    return tuple(word for part in given for word in part.split(",") if word)


@dataclass(frozen=True)
class EvaluateDataOptions(DataSetsOptions):
    """Data: the pairs of a data set, and how infrared counts become grey levels."""

    dataroot: tuple[Path, ...] | None = None
    """Root folders of data sets, in place of the folders of visible and of infrared images: their pairs are scored, cut
    to one view, also where the stems of a pair differ. Results have the visible image's stem, as test.py and fuse.py
    name them."""


@dataclass(frozen=True)
class ScoringOptions(DeviceOptions):
    """What every evaluation of images is told."""

    out: Path = Path()
    """Every image's values; FILE.csv, FILE.html and FILE_images/ go beside it."""
    split: Split | None = None
    """Split of --dataroot; test by default."""
    num_threads: int | None = None
    """Threads that read and score; 0 scores in the main thread. By default as many as this process has processors,
    at most 16."""
    data: EvaluateDataOptions = field(default_factory=EvaluateDataOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out.suffix != ".json":
            raise ValueError(f"--out is {self.out}: give a file that ends in .json; table and page go beside it")
        self.check_at_least(num_threads=0)


def check_sources(
    dataroot: Sequence[Path] | None,
    split: str | None,
    needed: Mapping[str, Path | None],
    optional: Mapping[str, Path | None],
) -> None:
    """ValueError unless there is either a data set or every needed folder (option -> folder)."""
    if dataroot is not None:
        for name, folder in {**needed, **optional}.items():
            if folder is not None:
                raise ValueError(f"--{name} and --dataroot: give folders, or a data set, not both")
        return
    for name, folder in needed.items():
        if folder is None:
            kind = "real infrared" if name == "real" else name
            raise ValueError(f"--{name} is missing: give the folder of the {kind} images, or --dataroot a data set")
    if split is not None:
        raise ValueError(f"--split {split}: belongs to a data set: add --dataroot, or leave it out")


@dataclass(frozen=True)
class EvaluateFusionOptions(ScoringOptions):
    """Score fused images against their sources, beside the average, the maximum and the two sources alone."""

    fused: tuple[str, ...] = ()
    """Folder of fused images, paired by stem; several methods as NAME=DIR NAME=DIR, where one DIR may hold them
    all as STEM_NAME or NAME_STEM. Of a results folder of fuse.py its fused images."""
    visible: Path | None = None
    """Folder of the visible images, or one image."""
    infrared: Path | None = None
    """Folder of the infrared images, or one image."""
    metrics: tuple[str, ...] = ()
    """Metrics by name, parted by blanks or commas; all of the convention's by default."""
    labels: Path | None = None
    """Folder of label images, paired by stem, for the contrast of targets: by how much they are brighter than the ring
    around them. By default those of --dataroot, if it has any."""
    label_class: str = "person"
    """Class of the targets in label images: car, person, bike, curve, "car stop", guardrail, cone, bump, or a
    number."""
    convention: Literal["standard", "vifb"] = "standard"
    """standard: the saved 8-bit grey image. vifb: formulas and colour handling of the benchmark VIFB."""
    out: Path = Path("results/evaluation/fusion.json")

    def __post_init__(self) -> None:
        methods_of("fused", self.fused)
        check_sources(self.data.dataroot, self.split, {"visible": self.visible, "infrared": self.infrared}, {})
        class_numbers("label_class", (self.label_class,))
        super().__post_init__()


@dataclass(frozen=True)
class EvaluateGenerationOptions(LearnedMetricOptions, ScoringOptions):
    """Score generated infrared images against real ones, beside luminance, inverted luminance and a constant."""

    generated: tuple[str, ...] = ()
    """Folder of generated images, paired by stem; several methods as NAME=DIR NAME=DIR, where one DIR may hold
    them all as STEM_NAME or NAME_STEM. Of a results folder of test.py its generated images."""
    real: Path | None = None
    """Folder of the real infrared images."""
    visible: Path | None = None
    """Folder of the visible images, for the baselines luminance and inverted luminance."""
    constant: float | None = None
    """Grey level, 0 to 255, of the baseline constant; the mean of the real images by default. A fair one is the mean
    of the training images."""
    out: Path = Path("results/evaluation/generation.json")

    def __post_init__(self) -> None:
        methods_of("generated", self.generated)
        check_sources(self.data.dataroot, self.split, {"real": self.real}, {"visible": self.visible})
        if self.constant is not None and not 0 <= self.constant <= 255:
            raise ValueError(f"--constant is {self.constant}: give a grey level from 0 to 255")
        super().__post_init__()
