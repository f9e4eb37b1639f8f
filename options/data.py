"""Which images are read, how they form pairs, and how they are cut to size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from options.shared import Options

SAMPLE_ROOT = Path("datasets/sample")

Layout = Literal[
    "auto", "flir_adas_v2", "flir_adas_v1", "flir_aligned", "roadscene", "m3fd", "llvip", "msrs", "mfnet", "kaist",
    "tno_fusiongan", "cyclegan", "pix2pix", "two_folders",
]  # fmt: skip


CLASSES = ("car", "person", "bike", "curve", "car stop", "guardrail", "cone", "bump")
"""Of the label maps of MFNet, which MSRS has too: the first is 1 there; 0 is everything else."""


def class_numbers(option: str, names: Sequence[str]) -> tuple[int, ...]:
    """Names of classes, or their numbers -> the numbers that a label image holds. ValueError for any other, and for
    none."""
    numbers = {name: number for number, name in enumerate(CLASSES, 1)}
    known = [numbers.get(name.lower().replace("_", " "), int(name) if name.isdecimal() else 0) for name in names]
    wrong = [name for name, number in zip(names, known, strict=True) if not 0 < number < 2**16]
    if wrong or not names:
        given = f"--{option} {wrong[0]}: is no class of a label image" if wrong else f"--{option} names no class"
        raise ValueError(f"{given}; give {', '.join(CLASSES)}, or a number from 1")
    return tuple(known)


@dataclass(frozen=True)
class DataOptions(Options):
    """Data: where the images lie, which ones form pairs, how thermal counts become grey levels."""

    dataroot: Path = SAMPLE_ROOT
    """Root folder of the data set. The default is the sample data set, made there on first use."""
    layout: Layout = "auto"
    """On-disk layout; auto looks at the folder."""
    pairs: Literal["official", "weak", "supervised", "none"] = "official"
    """FLIR ADAS v2 pairs. official: the video map, its videos shared between val and test. weak: as official,
    plus train and val pairs guessed from index.json, and then every video tests. supervised: as official,
    half of the videos going to train. none: no pairs. Other layouts: none drops their pairs, all else is the same."""
    rgb_to_thermal_map: Path | None = None
    """FLIR ADAS v2: rgb_to_thermal_vid_map.json where it is neither in the root nor beside it."""
    visible_dir: str | None = None
    """Folder of visible images inside dataroot, for a folder pair that auto does not know."""
    infrared_dir: str | None = None
    """Folder of infrared images inside dataroot, for a folder pair that auto does not know."""
    val_fraction: float = 0.1
    """Share of the pairs held out for validation where a layout brings no split, in [0, 0.5]. Held out in
    blocks from all parts of the sorted list, or by whole videos, so that neighbouring frames stay together."""
    test_fraction: float = 0.1
    """Share of the pairs held out for testing where a layout brings no split, in [0, 0.5]."""
    thermal_source: Literal["8bit", "16bit"] = "8bit"
    """FLIR layouts: read the camera's 8-bit rendering, or its 16-bit counts through --thermal_range."""
    thermal_range: Literal["kelvin", "percentile"] = "kelvin"
    """16-bit images to grey: a fixed window in kelvin (the same grey is the same temperature everywhere), or
    percentiles of each image."""
    kelvin_low: float = 253.15
    """Temperature shown black, kelvin."""
    kelvin_high: float = 323.15
    """Temperature shown white, kelvin."""
    kelvin_per_count: float = 0.04
    """Kelvin of one 16-bit count: 0.04 for FLIR ADAS v2, 0.01 for centikelvin cameras."""
    kelvin_offset: float = 0.0
    """Kelvin of a count of 0: 273.15 where values are degrees Celsius, with --kelvin_per_count 1 (0.1 for tenths)."""
    infrared_range: Literal["asis", "percentile", "standard"] = "asis"
    """8-bit infrared images. asis: their grey levels as they are. percentile: each image is stretched from
    percentile_low to percentile_high, so that cameras of unlike gain come to one range. standard: each image, of more
    bits too, is brought to a mean grey level of 90 and a spread of 40, with a gain of at most 2: for fusion, where hot
    is to mean the same for every camera."""
    percentile_low: float = 1.0
    """Percentile shown black, in [0, 100)."""
    percentile_high: float = 99.0
    """Percentile shown white, in (0, 100]."""
    visible_bits: int | None = None
    """Bits of the camera, 9 to 16, where visible images hold more than 8: its largest count becomes white. By default
    those that hold the brightest image of the folder or data set; files that tell it themselves are taken at
    their word."""
    mask_source: Literal["auto", "file", "boxes", "labels", "thermal"] = "auto"
    """Salient-target masks, for methods that learn from them. file: the data set's mask images. boxes: COCO
    outlines or boxes of its annotations. labels: things of --mask_classes in its label images (MSRS, MFNet).
    thermal: hot things that stand out, found in the image itself (a guess). auto: for each pair the first of these
    that there is."""
    mask_classes: tuple[str, ...] = ("person", "car", "bike")
    """Classes that are targets in label images: car, person, bike, curve, "car stop", guardrail, cone, bump, or
    numbers."""
    camera_crop: bool = True
    """Cut the wider visible view of FLIR ADAS v1 and v2 to the thermal camera's view."""
    strict: bool = False
    """A corrupt file ends the command; without it the file is skipped, reported and counted."""

    def __post_init__(self) -> None:
        for name in ("val_fraction", "test_fraction"):
            value = getattr(self, name)
            if not 0 <= value <= 0.5:
                raise ValueError(f"--{name} is {value}: give a share in [0, 0.5]")
        if not 0 < self.kelvin_low < self.kelvin_high:
            raise ValueError(
                f"--kelvin_low {self.kelvin_low} --kelvin_high {self.kelvin_high}: give 0 < low < high, in kelvin"
            )
        self.check_positive("kelvin_per_count")
        class_numbers("mask_classes", self.mask_classes)
        if self.visible_bits is not None and not 9 <= self.visible_bits <= 16:
            raise ValueError(f"--visible_bits is {self.visible_bits}: give 9 to 16, or leave it out")
        if not 0 <= self.percentile_low < self.percentile_high <= 100:
            raise ValueError(
                f"--percentile_low {self.percentile_low} --percentile_high {self.percentile_high}: "
                "give 0 <= low < high <= 100"
            )
        if (self.visible_dir is None) != (self.infrared_dir is None):
            raise ValueError("give --visible_dir and --infrared_dir together, or neither")

    @property
    def roots(self) -> tuple[DataOptions, ...]:
        """The options of each data set, one here."""
        return (self,)

    def at(self, root: Path) -> DataOptions:
        """These options for the data set at a root, whatever a command adds to them."""
        return DataOptions(**{f.name: getattr(self, f.name) for f in fields(DataOptions)} | {"dataroot": root})

    def values_for(self, root: str | None) -> dict[str, Any]:
        """A run's options, as the defaults of a command that looks at a root, or at the run's own data. Layout and
        folders only hold for these: for another root they are found anew."""
        own = tuple(one.dataroot for one in self.roots)
        values = {f.name: getattr(self, f.name) for f in fields(DataOptions)} | {"dataroot": own}
        if root is not None and Path(root).resolve() not in [one.resolve() for one in own]:
            values |= {"layout": "auto", "visible_dir": None, "infrared_dir": None, "rgb_to_thermal_map": None}
        return values


@dataclass(frozen=True)
class DataSetsOptions(DataOptions):
    """Data of several data sets."""

    dataroot: tuple[Path, ...] = (SAMPLE_ROOT,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataroot == ():
            raise ValueError("--dataroot has no value: give the root folder of a data set")

    @property
    def roots(self) -> tuple[DataOptions, ...]:
        """The options of each data set."""
        return tuple(map(self.at, self.dataroot))


@dataclass(frozen=True)
class TrainDataOptions(DataSetsOptions):
    """Data: where the images lie, which ones form pairs, how thermal counts become grey levels."""

    dataroot: tuple[Path, ...] = (SAMPLE_ROOT,)
    """Root folders of the data sets. The default is the sample data set, made there on first use. Several are trained
    on together; a picture that is held out in one of them is left out of all others."""
    dataroot_weights: tuple[float, ...] = ()
    """Share of the training images from each dataroot, in any unit; by default every image counts the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataroot_weights and len(self.dataroot_weights) != len(self.dataroot):
            raise ValueError(
                f"--dataroot_weights has {len(self.dataroot_weights)} numbers for {len(self.dataroot)} --dataroot: "
                "give one each"
            )
        if not all(weight > 0 for weight in self.dataroot_weights):
            raise ValueError("--dataroot_weights: give numbers above 0")
