"""FLIR ADAS v1 (1.3 and 1.0) and FLIR-aligned: pairs of equal FLIR_00002 stems."""

from __future__ import annotations

import re
from pathlib import Path

from data.files import image_files
from data.layouts.folders import MASK_NAMES, Folder
from data.layouts.listing import Split
from data.layouts.lists import list_files, share_by_lists
from data.layouts.pairing import complete, paired_split
from data.layouts.scan import Scan
from util.text import first_few

_PARTS = {"train": ("train", "training"), "val": ("val", "validation"), "test": ("video", "test")}
_BYTES = ("thermal_8_bit", "previewdata")
_COUNTS = ("thermal_16_bit", "data")
_LISTS = {"train": "(align_)?train.*", "val": "(align_)?(validation|val).*", "test": "(align_)?test.*"}


def _parts(folder: Folder) -> dict[str, Folder]:
    """train, val and test (the video folder) as far as they hold thermal images."""
    opened = {split: folder.open(*names) for split, names in _PARTS.items()}
    return {
        split: part
        for split, part in opened.items()
        if part is not None and (part.child(*_BYTES) or part.child("thermal_16_bit"))
    }


def detect(folder: Folder) -> bool:
    """thermal_8_bit or PreviewData in train, val or video."""
    return bool(_parts(folder))


def read(folder: Folder, scan: Scan) -> dict[str, Split]:
    """train and val as they are; the video is test."""
    counts = scan.options.thermal_source == "16bit"
    splits = {}
    for name, part in _parts(folder).items():
        visible, infrared = scan.sides(part.child("rgb"), part.child(*(_COUNTS if counts else _BYTES)), "flir_v1")
        if counts:
            infrared = scan.drop_bytes(infrared)
        splits[name] = paired_split(visible, infrared, scan.images(part.child(*MASK_NAMES)))
        scan.note_missing(name, splits[name])
    if counts and not any(split.infrared for split in splits.values()):
        raise ValueError(f"{folder.path}: no 16-bit thermal images in this copy: use --thermal_source 8bit")
    if counts and scan.options.thermal_range == "kelvin":
        scan.note("the 16-bit counts of FLIR ADAS v1 are no temperatures: use --thermal_range percentile")
    if "test" not in splits:
        scan.note("this copy has no video folder: there is no test split")
    return complete(splits, scan.options.val_fraction, scan.options.test_fraction)


def _aligned_lists(folder: Folder, scan: Scan) -> dict[str, Path]:
    """The list file of each split, here or in ImageSets/Main; not those of RGB names alone. The validation list is
    that of the test split where there is none of that name."""
    sets = folder.open("imagesets")
    places = folder.path, sets.child("main") if sets else None
    files = [file for file in list_files(places, scan) if "rgb" not in file.stem.lower()]
    fitting = {
        split: [file for file in files if re.fullmatch(pattern, file.stem, re.IGNORECASE)]
        for split, pattern in _LISTS.items()
    }
    for its in fitting.values():
        if len(its) > 1:
            scan.note(f"{its[0].name} is read, and not {first_few(file.name for file in its[1:])}")
    found = {split: its[0] for split, its in fitting.items() if its}
    instead = {} if "test" in found else {"val": "test"}
    return {instead.get(split, split): path for split, path in found.items()}


def detect_aligned(folder: Folder) -> bool:
    """JPEGImages with FLIR_00002_PreviewData beside FLIR_00002_RGB."""
    images = folder.child("jpegimages")
    return images is not None and any("_previewdata" in file.stem.lower() for file in image_files(images)[:50])


def read_aligned(folder: Folder, scan: Scan) -> dict[str, Split]:
    """JPEGImages by the lists: align_train trains, align_validation tests (papers report on it)."""
    images = [s for s in scan.images(folder.child("jpegimages")) if not s.stem.lower().endswith("_mask")]
    visible = [source for source in images if source.stem.lower().endswith("_rgb")]
    infrared = [source for source in images if source.stem.lower().endswith("_previewdata")]
    whole = paired_split(visible, infrared, scan.images(folder.child(*MASK_NAMES)))
    splits = share_by_lists(whole, _aligned_lists(folder, scan), scan)
    if "train" not in splits:
        scan.note("no align_train.txt: pairs are shared by --val_fraction and --test_fraction")
        scan.note_missing("", whole)
    return complete(splits, scan.options.val_fraction, scan.options.test_fraction)
