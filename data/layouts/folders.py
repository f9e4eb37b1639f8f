"""Folders by name, whatever the case, and the names of visible, infrared, mask and split folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.files import natural_key

VISIBLE_NAMES = (
    "visible", "vis", "vi", "rgb", "color", "colour", "crop_lr_visible", "traina", "train_vi", "a",
)  # fmt: skip
INFRARED_NAMES = (
    "infrared", "inf", "ir", "lwir", "thermal", "thermal_8_bit", "cropinfrared", "trainb", "train_ir", "b",
)  # fmt: skip
MASK_NAMES = ("mask", "masks")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Folder:
    """A folder and its sub-folders by lower-case name."""

    path: Path
    children: dict[str, Path]

    def child(self, *names: str) -> Path | None:
        """The sub-folder with the first of these names, given in lower case, that there is."""
        return next((self.children[name] for name in names if name in self.children), None)

    def open(self, *names: str) -> Folder | None:
        """As child, with its own sub-folders."""
        path = self.child(*names)
        return None if path is None else open_folder(path)


def open_folder(path: Path) -> Folder:
    """The folder with its sub-folders, hidden ones and __MACOSX left out; none where it may not be opened."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except PermissionError:  # data.files.unread names it
        names = []
    kept = [name for name in names if not name.startswith((".", "__MACOSX"))]
    return Folder(path, {name.lower(): path / name for name in sorted(kept, key=natural_key)})


def levels(root: Path, depth: int = 2) -> Iterator[list[Folder]]:
    """The folders 0, 1, ... depth levels below root, each level in natural order."""
    level = [open_folder(root)]
    for step in range(depth + 1):
        yield level
        if step < depth:
            level = [open_folder(path) for folder in level for path in folder.children.values()]


def split_folders(folder: Folder) -> dict[str, Path]:
    """Those sub-folders that are named like a split, by split."""
    found = {split: folder.child(*names) for split, names in SPLIT_NAMES.items()}
    return {split: path for split, path in found.items() if path is not None}
