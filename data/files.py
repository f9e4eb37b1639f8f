"""Which files in a folder are images, their natural order, and names: when two are equal, and stems that differ."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from util.text import first_few, plural

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm", ".jpe", ".jfif", ".avif", ".gif", ".jp2",
    ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".tga", ".pnm", ".pbm", ".pfm", ".apng", ".dib", ".mpo", ".pcx", ".qoi",
    ".ras", ".sgi", ".dds",
)  # fmt: skip
"""What Pillow reads, of formats that hold one picture."""
VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".mts", ".m2ts", ".3gp", ".flv",
    ".ogv",
)  # fmt: skip
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
OWN_MARKS = (("made.jsonl",), ("options.json", "losses.jsonl"))
"""Files that mark a folder of this project's own: results or augmented images, a run."""
LONGEST_NAME = 255  # bytes, on all usual file systems


def name_key(name: str) -> str:
    """What two names share that are one to a reader: upper and lower case, and the two ways in which Unicode writes an
    accented letter (macOS decomposes them), do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


SPELLINGS = (lambda name: unicodedata.normalize("NFC", name), name_key)
"""What two equal names share: first exactly, Unicode's normalisation aside, then to a reader."""


@lru_cache(maxsize=64)
def _spellings(folder: Path) -> dict[str, str]:
    """The names in a folder by what they share with those that are one to a reader."""
    return {name_key(path.name): path.name for path in folder.glob("*")}


def on_disk(path: Path) -> Path:
    """A file that JSON names, as it is called on disk, where that is another spelling of the same name."""
    return path if path.exists() else path.with_name(_spellings(path.parent).get(name_key(path.name), path.name))


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorting key under which frame2 comes before frame10, whatever script its digits are of. No two names tie."""
    parts = re.split(r"(\d{1,999})", name_key(name))  # Python reads no number of thousands of digits
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def is_video_name(name: str) -> bool:
    """Whether a file name is that of a video."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def is_image_name(name: str) -> bool:
    """Whether a file name is that of an image; hidden files such as ._x.jpg are not."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # that file managers write, in lower case


def is_hidden(name: str) -> bool:
    """Whether a name is one that systems give to what is no data: copies of metadata, thumbnails, waste."""
    return name.startswith((".", "__MACOSX", "@eaDir", "$RECYCLE.BIN"))


def is_own(folder: Path) -> bool:
    """Whether a folder holds what this project wrote: results, augmented images, a run."""
    try:
        return any(all((folder / name).is_file() for name in names) for names in OWN_MARKS)
    except OSError:  # locked
        return False


@dataclass
class Met:
    """What a search for images came by and did not look into: folders that cannot be read and those left out, each with
    the reason; how many files of each other suffix there are, labels and notes aside."""

    unread: list[tuple[Path, str]] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """Lines about what was left out."""
        reasons = {reason: [str(path) for path, its in self.left_out if its == reason] for _, reason in self.left_out}
        lines = [
            f"left out {plural(len(paths), 'folder')} {reason}: {first_few(paths)}" for reason, paths in reasons.items()
        ]
        if self.others:
            ends = ", ".join(f"{end} ({count})" for end, count in self.others.most_common())
            lines.append(f"not read are files ending in {ends}")
        return lines


def entries_of(folder: Path) -> list[tuple[str, bool, bool | None]]:
    """(name, whether it is a link, whether it is a folder; None of a link that leads nowhere)."""

    def is_folder(entry: os.DirEntry[str]) -> bool | None:
        if not entry.is_symlink():
            return entry.is_dir()
        try:
            return stat.S_ISDIR(entry.stat().st_mode)
        except OSError:
            return None

    with os.scandir(folder) as listed:
        return [(entry.name, entry.is_symlink(), is_folder(entry)) for entry in listed]


def walk(folder: Path, recursive: bool = True, met: Met | None = None) -> Iterator[Path]:
    """Yield the paths that image_files sorts, in no order."""
    met = Met() if met is None else met
    seen: set[str] = set()
    folders, links = [folder], []
    while folders or links:
        place = (folders or links).pop()  # a folder itself comes before links to it
        real = os.path.realpath(place)
        if real in seen:
            met.left_out.append((place, "that a link leads back to"))
            continue
        seen.add(real)
        if place != folder and is_own(place):
            met.left_out.append((place, "of this project's own results"))
            continue
        try:
            entries = entries_of(place)
        except OSError as error:  # locked, or gone since it was listed
            met.unread.append((place, error.strerror or str(error)))
            continue
        for name, link, is_folder in entries:
            if not is_folder and is_image_name(name):
                yield place / name
            elif recursive and is_folder and not is_hidden(name):
                (links if link else folders).append(place / name)
            elif recursive and is_folder is None:
                met.unread.append((place / name, "a link that leads nowhere"))
            elif not is_folder and not name.startswith("."):
                end = Path(name).suffix.lower()
                met.others.update([end] if end and end not in BESIDE else ())


def image_files(folder: Path, recursive: bool = False, met: Met | None = None) -> list[Path]:
    """Images in a folder, in natural order, leaving out what is no image; links are followed. recursive: those of its
    sub-folders too, but of none that is hidden or holds what this project wrote. met: gets what is passed over."""
    return sorted(walk(folder, recursive, met), key=lambda path: natural_key(path.as_posix()))


def _unless_unique(names: list[str], longer: list[str]) -> list[str]:
    counts = Counter(map(name_key, names))  # file systems may ignore case and normalisation
    return [full if counts[name_key(name)] > 1 else name for name, full in zip(names, longer, strict=True)]


def unique_stems(files: list[Path], root: Path) -> list[str]:
    """One stem a file. A stem that occurs twice gets its folders under root before it (a/b/1.png: a_b_1);
    where that is not enough its suffix behind it (1_png), and then its place in the list."""
    with_folders = ["_".join(file.relative_to(root).with_suffix("").parts) for file in files]
    stems = _unless_unique([file.stem for file in files], with_folders)
    for ends in ([file.suffix[1:] for file in files], [str(place) for place in range(len(files))]):
        stems = _unless_unique(stems, [f"{stem}_{end}" for stem, end in zip(stems, ends, strict=True)])
    return stems


def too_long(stem: str, suffix: str) -> bool:
    """Whether no file can be called STEM + suffix."""
    return len(os.fsencode(stem + suffix)) > LONGEST_NAME


def meanings(entry: str) -> Iterator[str]:
    """The stems that an entry of a list may mean, likeliest first: names may hold blanks and dots, have an image's
    suffix or none, and folders before them, by / or \\."""
    parts = [part for part in entry.strip("\"' ").replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if parts and parts[-1].lower().endswith(IMAGE_SUFFIXES):
        parts[-1] = parts[-1].rsplit(".", 1)[0]
    yield from ("_".join(parts[start:]) for start in range(len(parts)))
