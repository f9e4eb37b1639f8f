"""The table of layouts, and finding the one that a folder has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import data.layouts.flir_v1 as flir_v1
import data.layouts.flir_v2 as flir_v2
import data.layouts.kaist as kaist
import data.layouts.translation as translation
import data.layouts.two_folders as two_folders
from data.files import unread
from data.layouts.folders import Folder, levels
from data.layouts.joined import join
from data.layouts.listing import Listing, Split
from data.layouts.scan import Scan, without_pairs
from options.data import DataOptions

REMEDY = "give --visible_dir and --infrared_dir for two folders of equal file names (docs/data.md)"


class UnknownLayout(ValueError):
    """A folder that holds none of the layouts."""


@dataclass(frozen=True)
class Layout:
    """How to recognise a layout's top folder, how to read it, and what it looks like."""

    detect: Callable[[Folder], bool]
    read: Callable[[Folder, Scan], dict[str, Split]]
    looks: str


LAYOUTS = {
    "flir_adas_v2": Layout(flir_v2.detect, flir_v2.read, "images_rgb_train/data, video_thermal_test/data"),
    "flir_adas_v1": Layout(flir_v1.detect, flir_v1.read, "{train,val,video}/{RGB,thermal_8_bit}"),
    "flir_aligned": Layout(flir_v1.detect_aligned, flir_v1.read_aligned, "JPEGImages, align_train.txt"),
    "roadscene": Layout(two_folders.detect_roadscene, two_folders.read_roadscene, "crop_LR_visible, cropinfrared"),
    "m3fd": Layout(two_folders.detect_m3fd, two_folders.read, "M3FD_Detection/{Vis,Ir}"),
    "kaist": Layout(kaist.detect, kaist.read, "images/set00/V000/{visible,lwir}"),
    "llvip": Layout(two_folders.detect_llvip, two_folders.read, "{visible,infrared}/{train,test}"),
    "msrs": Layout(two_folders.detect_msrs, two_folders.read, "{train,test}/{vi,ir}/00537D.png"),
    "tno_fusiongan": Layout(
        two_folders.detect_tno_fusiongan,
        two_folders.read_tno_fusiongan,
        "Train_vi, Train_ir, Test_vi, Test_ir",
    ),
    "cyclegan": Layout(translation.detect_cyclegan, translation.read_cyclegan, "trainA, trainB, testA"),
    "pix2pix": Layout(translation.detect_pix2pix, translation.read_pix2pix, "train/x.jpg of A beside B"),
    "two_folders": Layout(two_folders.detect, two_folders.read, "vi and ir, visible and infrared, ..."),
}


def _recognise(root: Path, wanted: str, scan: Scan) -> tuple[str, Folder]:
    """The layout nearest to the root, and its top folder."""
    tried = LAYOUTS if wanted == "auto" else {wanted: LAYOUTS[wanted]}
    for level in levels(root):
        for name, layout in tried.items():
            found = [folder for folder in level if layout.detect(folder)]
            if found:
                others = [str(folder.path.relative_to(root)) for folder in found[1:]]
                if others:
                    scan.note(f"only {found[0].path} is read; give --dataroot for {', '.join(others)}")
                return name, found[0]
    if not any(root.iterdir()):
        raise ValueError(f"--dataroot {root} is an empty folder: put the data set there or give another")
    if wanted == "auto":
        raise UnknownLayout(f"--dataroot {root}: none of the layouts {', '.join(LAYOUTS)} found: {REMEDY}")
    remedy = f"leave --layout out, or {REMEDY}"
    raise UnknownLayout(f"--dataroot {root}: no {wanted} there, which has {LAYOUTS[wanted].looks}: {remedy}")


def find(options: DataOptions) -> Listing:
    """The data set in options.dataroot, or several joined: every readable image, in pairs and splits. ValueError if
    there is none; with options.strict an ImageError for the first file that would be skipped."""
    if len(options.roots) > 1:
        return join([find(one) for one in options.roots])
    (options,) = options.roots
    root = options.dataroot
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise ValueError(f"--dataroot {root} {what}: give the folder of a data set")
    scan = Scan(options)
    if options.visible_dir is not None:
        if options.layout not in ("auto", "two_folders"):
            raise ValueError(f"--layout {options.layout} has its own folders: leave --visible_dir out")
        name, top, splits = "two_folders", root, two_folders.read_named(root, scan)
    else:
        name, folder = _recognise(root, options.layout, scan)
        top, splits = folder.path, LAYOUTS[name].read(folder, scan)
    if not any(split.visible or split.infrared for split in splits.values()):
        raise ValueError(f"--dataroot {root} looks like {name} but holds no readable image: {REMEDY}")
    scan.note_sizes(splits)
    scan.note_views(splits)
    scan.note_counts(splits)
    for line in unread(top, recursive=True):
        scan.note(line)
    splits = scan.with_one_white(splits)
    if options.pairs == "none":
        splits = without_pairs(splits)
    return Listing(name, top, splits, tuple(scan.skipped), tuple(scan.notes))
