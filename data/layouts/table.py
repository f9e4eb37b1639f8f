"""The table of layouts, and finding the one that a folder has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import data.layouts.flir_v1 as flir_v1
import data.layouts.flir_v2 as flir_v2
import data.layouts.kaist as kaist
import data.layouts.mfnet as mfnet
import data.layouts.translation as translation
import data.layouts.two_folders as two_folders
from data.files import Met, natural_key, walk
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
    """How to recognise a layout's top folder, how to read it, and what it looks like. says: whether a folder that may
    be one of any pictures says that it is this; by default detect does."""

    detect: Callable[[Folder], bool]
    read: Callable[[Folder, Scan], dict[str, Split]]
    looks: str
    says: Callable[[Folder], bool] | None = None


LAYOUTS = {
    "flir_adas_v2": Layout(flir_v2.detect, flir_v2.read, "images_rgb_train/data, video_thermal_test/data"),
    "flir_adas_v1": Layout(flir_v1.detect, flir_v1.read, "{train,val,video}/{RGB,thermal_8_bit}"),
    "flir_aligned": Layout(flir_v1.detect_aligned, flir_v1.read_aligned, "JPEGImages, align_train.txt"),
    "roadscene": Layout(two_folders.detect_roadscene, two_folders.read_roadscene, "crop_LR_visible, cropinfrared"),
    "m3fd": Layout(two_folders.detect_m3fd, two_folders.read, "M3FD_Detection/{Vis,Ir}"),
    "mfnet": Layout(mfnet.detect, mfnet.read, "images/00001D.png of four channels, labels, train.txt"),
    "kaist": Layout(kaist.detect, kaist.read, "images/set00/V000/{visible,lwir}"),
    "llvip": Layout(two_folders.detect_llvip, two_folders.read, "{visible,infrared}/{train,test}"),
    "msrs": Layout(two_folders.detect_msrs, two_folders.read, "{train,test}/{vi,ir}/00537D.png"),
    "tno_fusiongan": Layout(
        two_folders.detect_tno_fusiongan,
        two_folders.read_tno_fusiongan,
        "Train_vi, Train_ir, Test_vi, Test_ir",
    ),
    "cyclegan": Layout(translation.detect_cyclegan, translation.read_cyclegan, "trainA, trainB, testA"),
    "pix2pix": Layout(
        translation.detect_pix2pix, translation.read_pix2pix, "train/x.jpg of A beside B", lambda _: False
    ),
    "two_folders": Layout(
        two_folders.detect, two_folders.read, "vi and ir, visible and infrared, ...", two_folders.says
    ),
}


def recognise(root: Path, wanted: str, pictures: bool = False) -> tuple[str, list[Folder]]:
    """The layout nearest to the root, and its top folders, of which the first counts. UnknownLayout for none.

    pictures: the root may be a folder of any pictures: then a data set is only what says so, with no picture beside."""
    tried = LAYOUTS if wanted == "auto" else {wanted: LAYOUTS[wanted]}
    for level in levels(root):
        for name, layout in tried.items():
            detect = layout.says if pictures and wanted == "auto" and layout.says else layout.detect
            found = [folder for folder in level if detect(folder)]
            if found and pictures and wanted == "auto" and found[0].path != root:
                tops = [folder.path for folder in found]
                if any(not any(path.is_relative_to(top) for top in tops) for path in walk(root)):
                    raise UnknownLayout(f"--dataroot {root}: holds pictures beside {name} in {tops[0]}")
            if found:
                return name, found
    if not any(root.iterdir()):
        raise ValueError(f"--dataroot {root} is an empty folder: put the data set there or give another")
    if wanted == "auto":
        raise UnknownLayout(f"--dataroot {root}: none of the layouts {', '.join(LAYOUTS)} found: {REMEDY}")
    remedy = f"leave --layout out, or {REMEDY}"
    raise UnknownLayout(f"--dataroot {root}: no {wanted} there, which has {LAYOUTS[wanted].looks}: {remedy}")


def _unread(root: Path, splits: dict[str, Split], scan: Scan) -> dict[str, int]:
    """How many images of the root are in no split and were not skipped, by folder; remarks on folders passed over."""
    met, counts = Met(), Counter()
    used = set().union(*(split.files() for split in splits.values())) | scan.skipped.keys()
    for path in walk(root, met=met):
        if path not in used:
            counts[path.parent.relative_to(root).as_posix()] += 1
    for place, reason in met.unread:
        scan.skip(place, reason)
    for line in met.notes():
        scan.note(line)
    return dict(sorted(counts.items(), key=lambda item: natural_key(item[0])))


def find(options: DataOptions, pictures: bool = False) -> Listing:
    """The data set in options.dataroot, or several joined: every readable image, in pairs and splits. ValueError if
    there is none; with options.strict an ImageError for the first file that would be skipped. pictures: as of
    recognise."""
    if len(options.roots) > 1:
        seen: set[Path] = set()
        for one in options.roots:
            if (place := one.dataroot.resolve()) in seen:
                raise ValueError(f"--dataroot {one.dataroot} is given twice: give it once")
            seen.add(place)
        return join([find(one, pictures) for one in options.roots])
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
        name, found = recognise(root, options.layout, pictures)
        others = [str(folder.path.relative_to(root)) for folder in found[1:]]
        if others:
            scan.note(f"only {found[0].path} is read; give --dataroot for {', '.join(others)}")
        top, splits = found[0].path, LAYOUTS[name].read(found[0], scan)
    if not any(split.visible or split.infrared for split in splits.values()):
        raise ValueError(f"--dataroot {root} looks like {name} but holds no readable image: {REMEDY}")
    scan.note_sizes(splits)
    scan.note_views(splits)
    scan.note_counts(splits)
    unread = _unread(root, splits, scan)
    splits = scan.with_one_white(splits)
    if options.pairs == "none":
        splits = without_pairs(splits)
    return Listing(name, top, splits, tuple(scan.skipped.values()), tuple(scan.notes), unread=unread)
