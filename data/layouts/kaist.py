"""KAIST multispectral pedestrians: setNN/VNNN/{visible,lwir}, whole or by list, and flattened copies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from pathlib import Path

from data.files import image_files, natural_key
from data.images import Source
from data.layouts.folders import Folder, open_folder
from data.layouts.listing import Split
from data.layouts.lists import list_files, note_absent, read_list
from data.layouts.pairing import complete, paired_split
from data.layouts.scan import Scan
from util.text import plural

_SET = re.compile(r"set(\d\d)")
_FRAME = re.compile(r"(set\d\d)[/_](V\d\d\d)[/_](?:visible/|lwir/)?(I\d+)", re.IGNORECASE)
_USUAL_LISTS = ("train-all-02.txt", "test-all-20.txt")


def _sets(folder: Folder) -> dict[str, Path]:
    return {name: path for name, path in folder.children.items() if _SET.fullmatch(name)}


def _flat_sides(folder: Folder) -> tuple[Path, Path] | None:
    visible, infrared = folder.child("visible"), folder.child("lwir")
    return (visible, infrared) if visible and infrared else None


def detect(folder: Folder) -> bool:
    """set00 ... here or in images, or visible and lwir of stems set00_V000_I00003."""
    sets = _sets(folder.open("images") or folder) or _sets(folder)
    for path in list(sets.values())[:1]:
        videos = open_folder(path).children.values()
        if any(open_folder(video).child("visible", "lwir") for video in videos):
            return True
    sides = _flat_sides(folder)
    return sides is not None and any(_FRAME.fullmatch(path.stem) for path in image_files(sides[0])[:5])


def split_of(stem: str) -> str:
    """set00 to set05 train, set06 to set11 test."""
    match = _SET.match(stem.lower())
    return "train" if match and int(match[1]) <= 5 else "test"


def _stem(text: str) -> str | None:
    """set00_V000_I00003 of a list line or a path."""
    match = _FRAME.search(text.replace("\\", "/"))
    return f"{match[1].lower()}_{match[2].upper()}_{match[3].upper()}" if match else None


def _lists(folder: Folder, frames: Set[str], scan: Scan) -> dict[str, Set[str]]:
    """Stems of the list of each split that names frames there are; the usual list where there are several."""
    places = dict.fromkeys((folder.child("imagesets"), folder.path, folder.path.parent / "imageSets"))
    files = sorted(list_files(places, scan), key=lambda file: file.name.lower() not in _USUAL_LISTS)
    found = {}
    for split in ("train", "test"):
        for file in (file for file in files if file.name.lower().startswith(split)):
            lines = {line: _stem(line) for line in read_list(file)}
            stems = frames & set(lines.values())
            note_absent(
                file, [stem or line for line, stem in lines.items() if stem not in frames], bool(stems), "frame", scan
            )
            if stems:
                found[split] = stems
                scan.note(f"{split}: the {plural(len(stems), 'frame')} of {file.name}")
                break
    return found


def _frames(folder: Folder) -> tuple[dict[str, Path], dict[str, Path]]:
    """Visible and infrared files by stem, unread."""
    sides: tuple[dict[str, Path], dict[str, Path]] = ({}, {})
    flat = _flat_sides(folder)
    if flat:
        for side, place in zip(sides, flat, strict=True):
            side.update({_stem(path.stem) or path.stem: path for path in image_files(place)})
        return sides
    for set_name, set_path in _sets(folder.open("images") or folder).items():
        for video in open_folder(set_path).children.values():
            inside = open_folder(video)
            for side, place in zip(sides, (inside.child("visible"), inside.child("lwir")), strict=True):
                files = image_files(place) if place else []
                side.update({f"{set_name}_{video.name.upper()}_{path.stem.upper()}": path for path in files})
    return sides


def _sources(frames: dict[str, Path], wanted: Iterable[str], scan: Scan) -> list[Source]:
    chosen = {stem: frames[stem] for stem in wanted if stem in frames}
    readable = set(scan.check(list(chosen.values())))
    return [Source(path, stem, group=stem.rsplit("_", 1)[0]) for stem, path in chosen.items() if path in readable]


def read(folder: Folder, scan: Scan) -> dict[str, Split]:
    """Frames of the lists in imageSets, of a split without a list all; val is whole videos of the training sets."""
    visible, infrared = _frames(folder)
    lists = _lists(folder, visible.keys() | infrared.keys(), scan)
    stems = sorted(visible.keys() | infrared.keys(), key=natural_key)
    splits = {}
    for name in ("train", "test"):
        wanted = [stem for stem in stems if (stem in lists[name] if name in lists else split_of(stem) == name)]
        split = paired_split(_sources(visible, wanted, scan), _sources(infrared, wanted, scan))
        if split.visible or split.infrared:
            splits[name] = split
            scan.note_missing(name, split)
    return complete(splits, scan.options.val_fraction, scan.options.test_fraction)
