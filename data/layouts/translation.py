"""Layouts of the CycleGAN and pix2pix repositories; A is visible, B is infrared."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from data.files import image_files
from data.images import ImageError, pixel_size
from data.layouts.folders import Folder, split_folders
from data.layouts.listing import Split
from data.layouts.pairing import complete, paired_split
from data.layouts.scan import Scan
from data.layouts.two_folders import pair_of
from data.layouts.two_folders import read as read_two_folders

SIDE_BY_SIDE = 1.9
"""Width / height from which the pictures of a folder are taken for two square ones side by side, or wider."""


def detect_cyclegan(folder: Folder) -> bool:
    """trainA or testA with its B."""
    return any({f"{split}a", f"{split}b"} <= set(folder.children) for split in ("train", "val", "test"))


def read_cyclegan(folder: Folder, scan: Scan) -> dict[str, Split]:
    """trainA and trainB unpaired; images of equal stems pair in val and test."""
    splits = {}
    for name in ("train", "val", "test"):
        split = paired_split(*scan.sides(folder.child(f"{name}a"), folder.child(f"{name}b")))
        if name == "train":
            split = replace(split, pairs=())
        if split.pairs:
            scan.note(
                f"{name}: {len(split.pairs)} names occur in {name}A and in {name}B and are taken for pairs: "
                "give --pairs none if they are not"
            )
        if split.visible or split.infrared:
            splits[name] = split
    return complete(splits, scan.options.val_fraction, scan.options.test_fraction)


def _is_side_by_side(place: Path) -> bool:
    """Whether all of the first pictures are wide; what cannot be read is none."""
    sizes = []
    for path in image_files(place)[:5]:
        with suppress(ImageError):
            sizes.append(pixel_size(path))
    return bool(sizes) and all(width >= SIDE_BY_SIDE * height for width, height in sizes)


def _sides(folder: Folder) -> bool:
    """Give the folders A/{split} and B/{split}."""
    sides = folder.open("a"), folder.open("b")
    return all(side is not None and split_folders(side) for side in sides)


def detect_pix2pix(folder: Folder) -> bool:
    """Wide AB pictures in train, val or test, or the folders A/{split} and B/{split}."""
    return _sides(folder) or any(_is_side_by_side(path) for path in split_folders(folder).values())


def read_pix2pix(folder: Folder, scan: Scan) -> dict[str, Split]:
    """AB pictures, each cut in two at half its width; or A/{split}, B/{split}."""
    if pair_of(folder):
        return read_two_folders(folder, scan)
    splits = {}
    for name, path in split_folders(folder).items():
        wide = scan.images(path)
        left = [replace(source, half="left") for source in wide]
        right = [replace(source, half="right") for source in wide]
        if wide:
            splits[name] = paired_split(left, right)
    if splits:
        scan.note("each picture is cut in two at half its width: left visible, right infrared")
    return complete(splits, scan.options.val_fraction, scan.options.test_fraction)
