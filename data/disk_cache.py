"""Decoded images kept in a folder for later runs, which share it: in pieces, of which the one that has not been used
for longest goes when the space is used up.

A piece is a pair of files of data/cache_files.py that holds images of one kind: of one data set, read at one size.
Pieces are made and removed under the folder's lock; one that is removed is emptied too, and whoever still has it open
finds its images absent. A piece's last use is its files' time; it is noted now and then, not at every image."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path

import torch

from data.cache_files import FORMAT, CacheFiles, locked

PIECES = 32  # that the whole space is divided into: what is removed at once is a small part of it
USE_S = 60.0  # seconds in which the use of a piece is noted once by a process
PIXELS, INDEX = ".pixels", ".index"


@dataclass(frozen=True)
class Found:
    """A piece in the folder, of whatever kind."""

    name: str
    bytes: int
    used: float  # seconds, the clock's


class DiskCache:
    """Images [C, H, W], uint8 or float32, by key. Shared by processes that are forked or get it pickled, and by runs
    that use the same folder."""

    def __init__(self, folder: Path, kind: str, limit: int, since: float | None = None) -> None:
        """kind: of this run's images. limit: bytes of pixels in the folder at most. since: the run's beginning, by
        default now; what has been used since then is not removed to make room."""
        self.place, self.kind, self.limit = folder, f"{FORMAT}_{kind}_", limit
        self.since = time.time() - 1 if since is None else since  # files' times may lag behind the clock
        self.full = False  # whether an image did not fit
        self.pieces: dict[str, CacheFiles] = {}
        self.noted: dict[str, float] = {}  # piece -> when its use was last noted
        self.lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)

    def __reduce__(self) -> tuple[type, tuple[Path, str, int, float]]:
        kind = self.kind.removeprefix(f"{FORMAT}_").removesuffix("_")
        return DiskCache, (self.place, kind, self.limit, self.since)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it could not be opened
            os.close(self.lock)

    def _found(self) -> list[Found]:
        """All pieces in the folder; none where somebody has removed it."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.place) as entries:
            for entry in entries:
                if entry.name.endswith(PIXELS):
                    with contextlib.suppress(FileNotFoundError):
                        about = entry.stat()
                        found.append(Found(entry.name.removesuffix(PIXELS), about.st_size, about.st_mtime))
        return found

    def taken(self) -> int:
        """Bytes of pixels in the folder, those of other kinds too."""
        return sum(piece.bytes for piece in self._found())

    def _file(self, name: str, ending: str) -> Path:
        return self.place / f"{name}{ending}"

    def _open(self, found: Iterable[Found]) -> None:
        """Know the pieces of this kind that there are, and no others; under the lock, or a removed one is made anew."""
        names = {piece.name for piece in found if piece.name.startswith(self.kind)}
        for name in self.pieces.keys() - names:
            del self.pieces[name]
        for name in sorted(names - self.pieces.keys()):
            self.pieces[name] = self._piece(name)

    def _piece(self, name: str) -> CacheFiles:
        return CacheFiles(self._file(name, INDEX), self._file(name, PIXELS), self.limit)

    def _look(self) -> None:
        """Learn of pieces that other processes have made or removed."""
        names: set[str] = set()
        with contextlib.suppress(FileNotFoundError), os.scandir(self.place) as entries:
            names = {entry.name.removesuffix(PIXELS) for entry in entries if entry.name.endswith(PIXELS)}
        if {name for name in names if name.startswith(self.kind)} != self.pieces.keys():
            with locked(self.lock):
                self._open(self._found())

    def __len__(self) -> int:
        """Images of this kind."""
        self._look()
        return len(set().union(*(piece.keys() for piece in self.pieces.values())))

    def get(self, key: bytes) -> torch.Tensor | None:
        """The image of a key, if it is there."""
        for name, piece in self.pieces.items():
            if key in piece.records and (image := self._read(name, piece, key)) is not None:
                return image
        self._look()
        for name, piece in self.pieces.items():
            if key in piece and (image := self._read(name, piece, key)) is not None:
                return image
        return None

    def _read(self, name: str, piece: CacheFiles, key: bytes) -> torch.Tensor | None:
        image = piece.get(key)
        if image is not None:
            self._note_use(name)
        return image

    def _note_use(self, name: str) -> None:
        now = time.monotonic()
        if now - self.noted.get(name, -inf) > USE_S:
            self.noted[name] = now
            os.utime(self.pieces[name].pixels)

    def claim(self, keys: Iterable[bytes]) -> int:
        """How many of the images that a run will use are there; from now on they are not removed to make room for
        its others. What is more than the limit, since that has become less, is removed."""
        self._look()
        wanted, held = set(keys), 0
        for name, piece in self.pieces.items():
            if there := len(wanted & piece.keys()):
                held += there
                self.noted.pop(name, None)
                self._note_use(name)
        with locked(self.lock):
            self._make_room(0, self._found())
        return held

    def put(self, key: bytes, image: torch.Tensor) -> None:
        """Keep an image, unless it is there or does not fit."""
        with locked(self.lock):
            found = self._found()
            self._open(found)
            if any(key in piece for piece in self.pieces.values()):
                return
            if not self._make_room(image.nbytes, found):
                self.full = True
                return
            try:
                piece = self._growing(found)
            except OSError:  # somebody has removed the folder
                self.full = True
                return
            piece.put(key, image)
            self.full |= piece.full

    def _make_room(self, more: int, found: Iterable[Found]) -> bool:
        """Remove pieces until there is room for so many bytes more: first those of other kinds, the one not used for
        longest before others; none that was used since this run began. Whether there is room then."""
        taken = sum(piece.bytes for piece in found)
        for piece in sorted(found, key=lambda piece: (piece.name.startswith(self.kind), piece.used)):
            if taken + more <= self.limit:
                break
            if piece.used < self.since:
                self._remove(piece.name)
                taken -= piece.bytes
        return taken + more <= self.limit

    def _remove(self, name: str) -> None:
        self.pieces.pop(name, None)
        self._file(name, INDEX).unlink(missing_ok=True)
        pixels = self._file(name, PIXELS)
        with contextlib.suppress(FileNotFoundError):
            os.truncate(pixels, 0)  # a process that has it open would keep the space taken
            pixels.unlink()

    def _growing(self, found: Iterable[Found]) -> CacheFiles:
        """The piece that images are added to: one that this run uses and that is not too large yet, or a new one."""
        for piece in found:
            known = piece.name in self.pieces and piece.used >= self.since
            if known and piece.bytes < max(1, self.limit // PIECES):
                return self.pieces[piece.name]
        name = f"{self.kind}{time.time_ns():020d}"
        self.pieces[name] = self._piece(name)
        return self.pieces[name]
