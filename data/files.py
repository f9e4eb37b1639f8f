"""Which files in a folder are images, their natural order, and stems that tell them apart."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm")


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
