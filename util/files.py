"""Files: what tells one from another, written whole or not at all, one command at a time in a folder, and whether a
command's output can be written, found out before its work and told by the option that names it."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]  # of this project
CHUNK = 2**20  # bytes read at once
LONGEST = 200  # bytes of a name that more is added to; file systems allow 255
LOCK = ".lock"
HELD = (errno.EACCES, errno.EAGAIN)


def digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):  # hashlib.file_digest came with Python 3.11
            found.update(chunk)
    return found.hexdigest()


def short(name: str) -> str:
    """The name; of one that leaves no room for more in a file's name, its beginning and a digest."""
    whole = os.fsencode(name)
    if len(whole) <= LONGEST:
        return name
    return f"{whole[: LONGEST // 2].decode(errors='ignore')}_{hashlib.sha256(whole).hexdigest()[:32]}"


def stamp(path: Path) -> list[Any]:
    """What changes when a file does: path, bytes, time of its last change in nanoseconds. OSError without a file."""
    about = path.stat()
    return [str(path.absolute()), about.st_size, about.st_mtime_ns]


def code_version() -> str:
    """The commit this code stands at, with "+" where it has been changed since; "unknown" outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's refusal behind an error: torch.save, for one, raises its own over that of a full disk."""
    while error is not None and (not isinstance(error, OSError) or error.errno is None):
        error = error.__cause__ or error.__context__
    return error


def part_of(path: Path, ending: str = "") -> Path:
    """What a file is called while this process writes it. A name that leaves no room for more is shortened."""
    return path.with_name(f".{short(path.name)}.{os.getpid()}.part{ending}")


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """A context whose OSErrors name path, where they name no file or its part: a full disk names none."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = _system_error(error)
        if getattr(cause or error, "filename", "") not in (None, str(part), part):
            raise
        if cause is None:  # Pillow's own words, such as "encoder error -2 when writing image file"
            raise OSError(f"{path}: cannot be written ({error}); is the disk full?") from None
        raise OSError(cause.errno, cause.strerror, str(path)) from None


@contextmanager
def beside(path: Path, ending: str = "", durable: bool = True) -> Iterator[Path]:
    """A file to write that is renamed to `path` once it is whole: no reader sees half of it, no crash leaves half.

    ending: of its name. durable: whether it is whole on disk too, which takes time. An OSError names path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path, ending)
    try:
        with naming(path, part):
            yield part
            if durable:
                with part.open("rb") as file:
                    os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as `beside` does."""
    with beside(path) as part:
        part.write_bytes(content)


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed left half-written in a folder, which no other process writes to now."""
    for part in folder.glob(".*.part*"):
        part.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path, remedy: str) -> Iterator[None]:
    """A context in which no other process that asks so writes in the folder, which is made where there is none.

    ValueError, with the remedy, where another one does. Where the platform or the file system has no locks nothing is
    kept out. Leaves an empty file LOCK: were it removed, two processes could hold one lock each."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            import fcntl  # Windows has none

            # Locks of lockf belong to a process; those of flock would be kept by workers that outlive a killed parent.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError as error:
            if error.errno in HELD:
                raise ValueError(f"{folder}: another command is writing there; {remedy}") from None
        yield


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
