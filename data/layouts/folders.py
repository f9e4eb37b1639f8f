"""Folders by name, whatever the case, and the names of visible, infrared, mask and split folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.files import entries_of, is_hidden, is_own, name_key, natural_key

VISIBLE_NAMES = (
    "visible", "vis", "vi", "rgb", "color", "colour", "crop_lr_visible", "traina", "train_vi",
)  # fmt: skip
INFRARED_NAMES = (
    "infrared", "inf", "ir", "lwir", "thermal", "thermal_8_bit", "cropinfrared", "trainb", "train_ir",
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
        """Find a sub-folder as child does, and open it: its own sub-folders are listed too."""
        path = self.child(*names)
        return None if path is None else open_folder(path)


def open_folder(path: Path) -> Folder:
    """The folder with its sub-folders, those left out that are hidden, or hold what this project wrote. One that cannot
    be read has none: whoever counts its images says so."""
    try:
        names = [name for name, _, is_folder in entries_of(path) if is_folder and not is_hidden(name)]
    except OSError:
        return Folder(path, {})
    kept = [name for name in sorted(names, key=natural_key) if not is_own(path / name)]
    return Folder(path, {name_key(name): path / name for name in kept})


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
