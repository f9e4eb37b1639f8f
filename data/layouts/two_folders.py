"""A visible and an infrared folder of equal stems: RoadScene, M3FD, LLVIP, MSRS, FusionGAN's TNO, any two."""

from __future__ import annotations

import re
from pathlib import Path

from data.files import image_files, name_key
from data.layouts.folders import (
    INFRARED_NAMES,
    MASK_NAMES,
    SPLIT_NAMES,
    VISIBLE_NAMES,
    Folder,
    open_folder,
    split_folders,
)
from data.layouts.listing import Split
from data.layouts.lists import list_files, share_by_lists
from data.layouts.pairing import complete, paired_split
from data.layouts.scan import Scan
from util.files import digest

_MSRS_STEM = re.compile(r"\d{5}[DN]")
META_LISTS = {"train": ("train.txt",), "test": ("pred.txt", "test.txt"), "val": ("val.txt",)}
"""Lists of the TarDAL packing; a stem listed twice belongs to the first split here."""


def _flat(folder: Folder, visible: Path, infrared: Path, scan: Scan) -> Split:
    """One folder pair, with the masks of a folder beside it, and MSRS's label images."""
    masks = scan.images(folder.child(*MASK_NAMES) or open_folder(infrared.parent).child(*MASK_NAMES))
    return paired_split(*scan.sides(visible, infrared), masks, scan.images(folder.child("segmentation_labels")))


def _join(folder: Folder, visible: Path, infrared: Path, scan: Scan) -> dict[str, Split]:
    """One folder pair by the split folders inside both; "" where there are none. Masks are shared as the images are, or
    all in one folder."""
    inner_visible, inner_infrared = split_folders(open_folder(visible)), split_folders(open_folder(infrared))
    shared = [name for name in SPLIT_NAMES if name in inner_visible and name in inner_infrared]
    if not shared:
        return {"": _flat(folder, visible, infrared, scan)}
    masks = folder.open(*MASK_NAMES)
    inner_masks = split_folders(masks) or dict.fromkeys(shared, masks.path) if masks else {}
    return {
        name: paired_split(*scan.sides(inner_visible[name], inner_infrared[name]), scan.images(inner_masks.get(name)))
        for name in shared
    }


def pair_of(folder: Folder) -> tuple[Path, Path] | None:
    """The visible and the infrared folder side by side here; None where there are none. Names say which is which before
    A and B do."""
    found = folder.child(*VISIBLE_NAMES), folder.child(*INFRARED_NAMES)
    if None in found:
        found = folder.child("a"), folder.child("b")
    return None if None in found else found


def _places(folder: Folder) -> list[Folder]:
    """The folder and those in it that are named like splits."""
    return [folder, *map(open_folder, split_folders(folder).values())]


def detect(folder: Folder) -> bool:
    """Any two folders of known names, here or in folders named like splits."""
    return any(pair_of(place) for place in _places(folder))


def says(folder: Folder) -> bool:
    """Say whether the names tell visible from infrared, as detect does; A and B do not."""
    return any(place.child(*VISIBLE_NAMES) and place.child(*INFRARED_NAMES) for place in _places(folder))


def detect_roadscene(folder: Folder) -> bool:
    """The two folders of RoadScene whose pictures have one size."""
    return folder.child("crop_lr_visible") is not None and folder.child("cropinfrared") is not None


def detect_m3fd(folder: Folder) -> bool:
    """vis or vi beside ir, in a folder that M3FD's name or its annotations give away."""
    named = any("m3fd" in part.lower() for part in folder.path.parts[-2:])
    pair = folder.child("vis", "vi") is not None and folder.child("ir") is not None
    return pair and (named or folder.child("annotation", "annotations") is not None)


def detect_llvip(folder: Folder) -> bool:
    """visible and infrared, each with train and test."""
    sides = folder.open("visible"), folder.open("infrared")
    return all(side is not None and {"train", "test"} <= set(side.children) for side in sides)


def detect_msrs(folder: Folder) -> bool:
    """train and test, each with vi and ir, of stems such as 00537D and 00012N."""
    parts = [folder.open("train"), folder.open("test")]
    pairs = [part for part in parts if part is not None and {"vi", "ir"} <= set(part.children)]
    return bool(pairs) and any(_MSRS_STEM.fullmatch(path.stem) for path in image_files(pairs[0].children["vi"])[:5])


def detect_tno_fusiongan(folder: Folder) -> bool:
    """The four folders of FusionGAN's repository."""
    return {"train_vi", "train_ir"} <= set(folder.children)


def _by_lists(folder: Folder, whole: Split, scan: Scan) -> dict[str, Split]:
    """The one split, shared as the lists in meta/ say; without lists as it is."""
    files = {name_key(path.name): path for path in list_files([folder.child("meta")], scan)}
    lists = {split: next((files[name] for name in names if name in files), None) for split, names in META_LISTS.items()}
    lists = {split: path for split, path in lists.items() if path is not None}
    return share_by_lists(whole, lists, scan) if lists.keys() - {"train"} else {"": whole}


def _finish(parts: dict[str, Split], scan: Scan) -> dict[str, Split]:
    for name, part in parts.items():
        if part.visible and part.infrared and not part.pairs:
            scan.note(
                f"{name + ': ' if name else ''}no visible image has the stem of an infrared one, so none are "
                "paired: give both images of a pair the same name"
            )
        else:
            scan.note_missing(name, part)
    if "val" in parts and "test" not in parts:
        scan.note("this copy has no test split")
    return complete(parts, scan.options.val_fraction, scan.options.test_fraction)


def _read_beside(folder: Folder, visible: Path, infrared: Path, scan: Scan) -> dict[str, Split]:
    parts = _join(folder, visible, infrared, scan)
    return _finish(_by_lists(folder, parts[""], scan) if "" in parts else parts, scan)


def read_roadscene(folder: Folder, scan: Scan) -> dict[str, Split]:
    """crop_LR_visible with cropinfrared. The infrared folder beside them is uncropped and fits neither."""
    return _read_beside(folder, folder.child("crop_lr_visible"), folder.child("cropinfrared"), scan)


def read(folder: Folder, scan: Scan) -> dict[str, Split]:
    """visible/x; visible/{train,val,test}/x; or {train,val,test}/visible/x; and infrared likewise."""
    beside = pair_of(folder)
    if beside:
        return _read_beside(folder, *beside, scan)
    parts = {}
    for name, path in split_folders(folder).items():
        part = open_folder(path)
        inside = pair_of(part)
        if inside:
            parts[name] = _flat(part, *inside, scan)
    return _finish(parts, scan)


def read_named(root: Path, scan: Scan) -> dict[str, Split]:
    """The folders that --visible_dir and --infrared_dir name, in root or in its train, val, test."""
    names = scan.options.visible_dir, scan.options.infrared_dir
    top = open_folder(root)
    places = {"": root} | split_folders(top)
    found = {
        split: tuple(place / name for name in names)
        for split, place in places.items()
        if all((place / name).is_dir() for name in names)
    }
    if not found:
        missing = next(name for name in names if not (root / name).is_dir())
        raise ValueError(f"no folder {root / missing}: give --visible_dir and --infrared_dir inside {root}")
    if "" in found:
        return _finish(_join(top, *found[""], scan), scan)
    return _finish({split: _flat(open_folder(places[split]), *pair, scan) for split, pair in found.items()}, scan)


def read_tno_fusiongan(folder: Folder, scan: Scan) -> dict[str, Split]:
    """Train_vi, Train_ir, Test_vi, Test_ir. In the published copy both hold the same pictures, byte for byte: they are
    read once and shared by the fractions."""
    train = paired_split(*scan.sides(folder.child("train_vi"), folder.child("train_ir")))
    test = paired_split(*scan.sides(folder.child("test_vi"), folder.child("test_ir")))
    trained = {pair.stem: pair.visible.path for pair in train.pairs}
    named_alike = [(pair.visible.path, trained[pair.stem]) for pair in test.pairs if pair.stem in trained]
    shared = [path for path, other in named_alike if digest(path) == digest(other)]
    if not shared:
        return _finish({"train": train, "test": test} if test.pairs else {"": train}, scan)
    scan.note(
        f"{len(shared)} of {len(test.pairs)} test pairs are training pairs too, as FusionGAN packs TNO: "
        "the Train folders alone are read and shared by --val_fraction and --test_fraction"
    )
    return _finish({"": train}, scan)
