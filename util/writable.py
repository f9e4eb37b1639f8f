"""Whether a command's output can be written, and over nothing that a user wants to keep: found out before its work,
and told by the option that names it."""

from __future__ import annotations

import errno
import glob
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path


def _mode(path: Path) -> int:
    """Its kind and permissions; 0 where nothing is there, or nothing that can be seen."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _refusal(folder: Path) -> str | None:
    """Why nothing can be written below a folder that may not be there yet; None where it can. Leaves nothing there."""
    place = folder.absolute()
    while not _mode(place) and place != place.parent:
        place = place.parent
    shown = folder if place == folder.absolute() else place
    if not stat.S_ISDIR(_mode(place)):
        return f"{shown} is not a folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"the folder {shown} is not writable"
    try:
        # Permissions alone do not tell: root's are ignored, and a disk may be full or read-only.
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"the folder {shown} is not writable ({os.strerror(error.errno or errno.EIO)})"


def check_folder(option: str, folder: Path, inside: str = "") -> None:
    """ValueError, by the option that named the folder, where `inside` of it cannot be written to, nor made."""
    refusal = _refusal(folder / inside)
    if refusal:
        raise ValueError(f"{option} {folder}: {refusal}; give another")


def check_file(option: str, path: Path | None, mark: str = "", beside: Iterable[Path] = ()) -> None:
    """ValueError, by the option that named the file, where it cannot be written or replaced. None: there is none.

    mark: stands in every file that the command writes there; one without it is not replaced. beside: what is written
    with the file, and not replaced without it. What a killed command left of the file half-written is removed."""
    if path is None:
        return
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        raise ValueError(f"{option} {path}: is a folder; give a file")
    if mode and not stat.S_ISREG(mode):
        raise ValueError(f"{option} {path}: is no plain file; give another")
    if mark and mode and mark.encode() not in path.read_bytes():
        raise ValueError(f"{option} {path}: is there, and this command did not write it; give another, or remove it")
    if not mode and (other := next((other for other in beside if _mode(other)), None)):
        raise ValueError(f"{option} {path}: {other} is there, which goes with it; give another, or remove it")
    refusal = _refusal(path.parent)
    if refusal:
        raise ValueError(f"{option} {path}: {refusal}; give another")
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
        part.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def first_inside(paths: Iterable[Path], folders: Iterable[Path]) -> Path | None:
    """The first of the paths that is one of the folders (or files) or lies in one, by whatever name: links, mounts
    and capital letters do not hide it."""
    taken = {_identity(folder) for folder in folders} - {None}
    seen: dict[Path, bool] = {}

    def within(place: Path) -> bool:
        if place not in seen:
            seen[place] = _identity(place) in taken or (place != place.parent and within(place.parent))
        return seen[place]

    real: dict[Path, Path] = {}  # folder of paths -> what it is without links: thousands of files lie in one
    for path in paths if taken else ():
        folder = real.setdefault(path.parent, path.parent.resolve())
        link = path.resolve() if path.is_symlink() else None
        if _identity(path) in taken or within(folder) or (link is not None and within(link.parent)):
            return path
    return None


def check_apart(option: str, outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """ValueError, by the option that named them, where one of the files to write is one that the command reads."""
    taken = {_identity(path): path for path in inputs}
    for path in outputs:
        if (same := _identity(path)) is not None and same in taken:
            raise ValueError(f"{option} {path}: is {taken[same]}, which this command reads; give another")
