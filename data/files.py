"""Which files in a folder are images, their natural order, and stems that tell them apart."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm", ".jpe", ".jfif", ".avif", ".gif", ".jp2",
    ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".tga", ".pnm", ".pbm", ".pfm", ".apng", ".dib", ".mpo", ".pcx", ".qoi",
    ".ras", ".sgi", ".dds",
)  # fmt: skip
"""What Pillow reads, of formats that hold one picture."""
BESIDE = (
    ".txt",
    ".xml",
    ".json",
    ".csv",
    ".tsv",
    ".yaml",
    ".yml",
    ".md",
    ".html",
    ".pdf",
    ".db",
    ".ini",
    ".log",
    ".py",
)
"""Suffixes of what lies beside images and is none: labels, notes."""


def natural_key(name: str) -> list[str | int]:
    """Sorting key under which frame2 comes before frame10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name.casefold())]


def is_image_name(name: str) -> bool:
    """Whether a file name is that of an image; hidden files such as ._x.jpg are not."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def image_files(folder: Path, recursive: bool = False) -> list[Path]:
    """Images in a folder, in natural order, leaving out what is no image; links are followed."""
    found, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        found += [Path(parent, name) for name in names if is_image_name(name)]
        if not recursive:
            break
        seen.add(os.path.realpath(parent))
        folders[:] = [name for name in folders if os.path.realpath(Path(parent, name)) not in seen]
    return sorted(found, key=lambda path: natural_key(path.as_posix()))


def unread(folder: Path, recursive: bool = False) -> list[str]:
    """Lines about what of a folder is not read: files of other suffixes, such as videos, and folders that cannot be
    opened. Labels and notes beside images are not counted."""
    suffixes: Counter[str] = Counter()
    locked: list[str] = []
    for _, folders, names in os.walk(folder, onerror=lambda error: locked.append(error.filename), followlinks=False):
        suffixes.update(Path(name).suffix.lower() for name in names if not name.startswith("."))
        if not recursive:
            folders.clear()
    others = {end: count for end, count in suffixes.most_common() if end and end not in (*IMAGE_SUFFIXES, *BESIDE)}
    lines = [f"no permission to open {path}: its images are not read" for path in locked]
    if others:
        lines.append(f"{folder}: not read are files ending in " + ", ".join(f"{e} ({n})" for e, n in others.items()))
    return lines


def _unless_unique(names: list[str], longer: list[str]) -> list[str]:
    counts = Counter(name.casefold() for name in names)  # file systems may ignore case
    return [full if counts[name.casefold()] > 1 else name for name, full in zip(names, longer, strict=True)]


def unique_stems(files: list[Path], root: Path) -> list[str]:
    """One stem a file. A stem that occurs twice gets its folders under root before it (a/b/1.png: a_b_1);
    where that is not enough its suffix behind it (1_png), and then its place in the list."""
    with_folders = ["_".join(file.relative_to(root).with_suffix("").parts) for file in files]
    stems = _unless_unique([file.stem for file in files], with_folders)
    for ends in ([file.suffix[1:] for file in files], [str(place) for place in range(len(files))]):
        stems = _unless_unique(stems, [f"{stem}_{end}" for stem, end in zip(stems, ends, strict=True)])
    return stems
